"""A database that knows one node and one open channel."""

from __future__ import annotations

import pytest

from storage.database import Database
from tests.storage import examples


@pytest.fixture
def channel_id(db: Database) -> int:
    with db.transaction() as conn:
        examples.add_node(conn)
        return examples.open_channel(conn)
