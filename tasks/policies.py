"""A node's policy: kept for the channels it opens, and told to those that are open."""

from __future__ import annotations

import uuid
from functools import partial

from contractcourt.case import State
from contractcourt.events import PolicyChanged
from contractcourt.policy import Policy
from storage import channels, docket, nodes
from storage.database import Connection, Database
from storage.docket import NewEntry

_PAGE = 1_000


def change(db: Database, node: str, policy: Policy) -> list[int]:
    """Store it, and put it on the docket of each channel that is not resolved; those channels.

    Page by page, each one commit: the watcher waits for dockets that are held. Whoever is cut off
    on the way is to ask again. Ends early when another one has changed it again meanwhile, who
    tells them all.

    Raises:
        UnknownNode: no node of this name.
    """
    db.run(lambda conn: nodes.set_policy(conn, node, policy))
    key = f"policy:{uuid.uuid4()}"
    told: list[int] = []
    after: int | None = 0
    while after is not None:
        concerned, after = db.run(partial(_tell, node=node, policy=policy, key=key, after=after))
        told += concerned
    return told


def _tell(
    conn: Connection, node: str, policy: Policy, key: str, after: int
) -> tuple[list[int], int | None]:
    """Of a page those that are told, and after which id to go on."""
    if not nodes.keep_policy(conn, node, policy):
        return [], None
    page = channels.list_channels(conn, node=node, after=after, limit=_PAGE)
    concerned = [row.id for row in page if row.state is not State.FULLY_RESOLVED]
    entries = [NewEntry(one, PolicyChanged(policy), key, "operator") for one in concerned]
    docket.append_many(conn, entries)
    return concerned, page[-1].id if page else None
