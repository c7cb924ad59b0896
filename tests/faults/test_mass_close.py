"""A short one of `make storm` (C4)."""

from __future__ import annotations

import pytest

from tests.faults.mass_close import storm
from tests.summary import Summary

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_CHANNELS = 160


def test_c4_redis_forgets_and_dies_while_a_network_closes(summary: Summary) -> None:
    told = storm(_CHANNELS, seed=1)
    assert told["wrong"] == []
    assert told["injected"]
    summary(f"C4: {_CHANNELS} channels of every kind closed at once, {told['injected']}")
