"""One court for all the stories on the stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from workers.simulation.court import RunningCourt, running_court


@pytest.fixture(scope="session")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCourt]:
    """A running court that stories share: each has channels of its own."""
    with running_court(tmp_path_factory.mktemp("court")) as running:
        yield running
