"""A node's policy: kept for the channels it opens, and told to those that are open."""

from __future__ import annotations

import uuid

from contractcourt.case import State
from contractcourt.events import PolicyChanged
from contractcourt.policy import Policy
from storage import channels, docket, nodes
from storage.database import Connection
from storage.docket import NewEntry

_PAGE = 1_000


def change(conn: Connection, node: str, policy: Policy) -> list[int]:
    """Store it, and put it on the docket of each channel that is not resolved; those channels.

    Raises:
        UnknownNode: no node of this name.
    """
    nodes.set_policy(conn, node, policy)
    key = f"policy:{uuid.uuid4()}"
    told: list[int] = []
    after = 0
    while page := channels.list_channels(conn, node=node, after=after, limit=_PAGE):
        after = page[-1].id
        concerned = [row.id for row in page if row.state is not State.FULLY_RESOLVED]
        entries = [NewEntry(one, PolicyChanged(policy), key, "operator") for one in concerned]
        docket.append_many(conn, entries)
        told += concerned
    return told
