"""A node's policy: kept for the channels it opens, and told to those that are open."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from functools import partial

from contractcourt.case import State
from contractcourt.events import PolicyChanged
from contractcourt.policy import Policy
from storage import channels, docket, nodes
from storage.database import Connection, Database
from storage.docket import NewEntry
from storage.errors import UnreadableRecord

_PAGE = 1_000
#: Whoever tells a policy says so with each page, well within this.
_CUT_OFF_SECONDS = 10.0


def change(db: Database, node: str, policy: Policy) -> list[int]:
    """Store it, and put it on the docket of each channel that is not resolved; those channels.

    Page by page, each one commit: the watcher waits for dockets that are held. Where one is cut off
    on the way, `resume` goes on. When another one changes it again meanwhile, both tell that.

    Raises:
        UnknownNode: no node of this name.
    """
    db.run(lambda conn: nodes.set_policy(conn, node, policy))
    told: list[int] = []
    while (concerned := db.run(partial(_tell, node=node))) is not None:
        told += concerned
    return told


def resume(db: Database, seconds: float) -> list[int]:
    """Go on where whoever told a policy was cut off, for so long; the channels that were told."""
    told: list[int] = []
    ends_at = time.monotonic() + seconds
    for node in db.run(lambda conn: nodes.cut_off(conn, _CUT_OFF_SECONDS)):
        # A newer version's is told by that one.
        with suppress(UnreadableRecord):
            while time.monotonic() < ends_at:
                concerned = db.run(partial(_tell, node=node))
                if concerned is None:
                    break
                told += concerned
    return told


def _tell(conn: Connection, node: str) -> list[int] | None:
    """Of the next page those that are told; None when all channels have heard."""
    half_told = nodes.lock_half_told(conn, node)
    if half_told is None:
        return None
    policy, after = half_told
    page = channels.list_channels(conn, node=node, after=after, limit=_PAGE)
    nodes.note_told(conn, node, page[-1].id if page else None)
    concerned = [row.id for row in page if row.state != State.FULLY_RESOLVED]
    key = f"policy:{uuid.uuid4()}"
    entries = [NewEntry(one, PolicyChanged(policy), key, "operator") for one in concerned]
    docket.append_many(conn, entries)
    return concerned
