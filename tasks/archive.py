"""`contractcourt.archive`: old months leave the docket, once every channel is proved past them.

A month goes in steps, each of which may be cut off anywhere and is taken up by the next run:
every channel with an entry in it gets a checkpoint beyond; the part is detached, which no append
waits for; it stands in the archive; and is dropped there, only if the operator said so. What left
by a clock that was ahead comes back, and such a clock drops nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta

import psycopg
import structlog

from contractcourt.alarms import AlarmKind
from contractcourt.codec import MalformedRecord
from contractcourt.units import BlockHeight
from storage import alarms, blocks, cases, checkpoints, docket_parts, forgetting
from storage.database import Connection, Database
from storage.docket_parts import Part, Shelf, month_after
from storage.errors import UnreadableRecord
from tasks.app import app
from tasks.environment import load_settings
from tasks.proof import prove_on

_log = structlog.get_logger()

#: How early the alarm rings that there is no part for coming entries.
_EARLY = timedelta(days=7)
#: A run ends after so long, well below a task's time limit; the next one goes on.
_MOST_SECONDS = 10.0


@app.task(name="contractcourt.archive")
def archive_task(idempotency_key: str = "") -> None:
    """Take old months out of the docket's way.

    It runs as the owner of the docket, who is told of the database alone and of no signer or node.
    """
    del idempotency_key
    settings = load_settings()
    url = settings.required_database_url
    with closing(Database(url, application_name="contractcourt-archivist")) as db:
        try:
            archive(
                db,
                db.run(docket_parts.now),
                months=settings.docket_months,
                drop_after_months=settings.docket_archive_months,
            )
        finally:
            # Whatever keeps a month where it is.
            forget(db, settings.forget_days)


def make_room(conn: Connection, at: datetime) -> None:
    """Make the parts that are due `at` a time, and alarm when in a week's time there would be none.

    What keeps us from making them keeps us from nothing else.
    """
    try:
        with conn.transaction():
            for month in docket_parts.make_ahead(conn, at):
                _log.info("docket part made", month=f"{month:%Y-%m}")
    except psycopg.Error as error:
        _log.error("docket part not made", error=str(error))
    room = docket_parts.room(conn, at)
    if room >= _EARLY:
        alarms.clear_kind(conn, None, AlarmKind.DOCKET_PART_MISSING)
        return
    until = f"{at + room:%Y-%m-%d %H:%M} UTC"
    message = (
        f"the docket has room until {until} only, and nothing can be appended after that: look "
        "in the workers' logs for why no part could be made; the role must own the tables"
    )
    alarms.keep_raised(conn, None, AlarmKind.DOCKET_PART_MISSING, message)


def archive(
    db: Database, at: datetime, *, months: int, drop_after_months: int | None = None
) -> None:
    """Take every part one step on that is due for it.

    Args:
        months: whole months before the present one that stay in the docket.
        drop_after_months: whole months after which a part is dropped, if each of them has its own;
            None keeps it for ever.
    """
    give_up_at = time.monotonic() + _MOST_SECONDS
    with db.transaction() as conn:
        found = docket_parts.parts(conn)
    for part in found:
        shelf = _shelf_of(part, at, months)
        drops = shelf is Shelf.ARCHIVE and _is_over(part, at, drop_after_months, found)
        if time.monotonic() > give_up_at or (part.shelf is shelf and not (part.leaving or drops)):
            continue
        comes_back = shelf is Shelf.DOCKET
        if part.shelf is not Shelf.ALONE:
            may_leave = part.leaving or comes_back or cover(db, part, give_up_at)
            if not (may_leave and _detach(db, part)):
                continue
        _put(db, part, back=comes_back, drops=drops)


def _shelf_of(part: Part, at: datetime, months: int) -> Shelf:
    """Where it belongs. What is in the archive comes back when its month is yet to pass."""
    stays = 0 if part.shelf is Shelf.ARCHIVE else -months
    return Shelf.DOCKET if part.month >= month_after(at.date(), stays) else Shelf.ARCHIVE


def _is_over(part: Part, at: datetime, months: int | None, found: Sequence[Part]) -> bool:
    """Nobody wants to keep it any longer."""
    if months is None or part.month >= month_after(at.date(), -months):
        return False
    return docket_parts.followed(part, months, found)


def forget(db: Database, days: int) -> None:
    """Delete what has been over for so many days (`storage.forgetting`); the next run goes on."""
    give_up_at = time.monotonic() + _MOST_SECONDS
    cursor = db.run(blocks.cursor)
    kinds = {
        "sent_effects": forgetting.sent_effects(days),
        "receipts": forgetting.receipts(days),
        "told_preimages": forgetting.told_preimages(days),
    }
    if cursor is not None and cursor.height > days * forgetting.BLOCKS_A_DAY:
        up_to = BlockHeight(cursor.height - days * forgetting.BLOCKS_A_DAY)
        kinds["revoked_states"] = forgetting.revoked_states(up_to)
        kinds["spent_coins"] = forgetting.spent_coins(up_to)
    for name, some in kinds.items():
        gone = 0
        while time.monotonic() < give_up_at and (rows := db.run(some)):
            gone += rows
        if gone:
            _log.info("forgotten", kind=name, rows=gone)


def cover(db: Database, part: Part, give_up_at: float = float("inf")) -> bool:
    """Prove every channel beyond its last entry here; whether all are, in the time given.

    Only proving takes of that time: the next run has yet to pass by all that are proved.
    """
    after: int | None = 0
    while after is not None:
        with db.transaction() as conn:
            page, after = docket_parts.uncovered(conn, part, after)
        for channel_id in page:
            if time.monotonic() > give_up_at:
                return False
            with db.transaction() as conn:
                _check_in(conn, channel_id, part, give_up_at)
    with db.transaction() as conn:
        return docket_parts.all_covered(conn, part)


def _check_in(conn: Connection, channel_id: int, part: Part, give_up_at: float) -> None:
    """A checkpoint at what the case has applied by now, if the docket proves the case.

    Of a long docket it is one on the way there, from which the next run goes on. Takes no lock: an
    entry that is applied never changes.
    """
    try:
        stored = cases.read(conn, channel_id)
        proved = None if stored is None else prove_on(conn, stored, give_up_at)
    except (MalformedRecord, UnreadableRecord) as error:
        _log.error("can't be read", channel_id=channel_id, error=str(error))
        stored = proved = None
    if stored is not None and proved is not None:
        seq, case = proved
        checkpoints.put(conn, channel_id, seq, case)
        if seq == stored.applied_seq:
            alarms.clear_kind(conn, channel_id, AlarmKind.DOCKET_NOT_PROVED)
        return
    message = (
        "its case does not follow from its docket, so no old month of any docket is put away: "
        "see `contractcourt audit`"
    )
    alarms.keep_raised(conn, channel_id, AlarmKind.DOCKET_NOT_PROVED, message)
    _log.error("not proved", channel_id=channel_id, part=part.name)


def _detach(db: Database, part: Part) -> bool:
    try:
        docket_parts.detach(db, part)
    except (psycopg.errors.QueryCanceled, psycopg.errors.ObjectNotInPrerequisiteState):
        # Of a shelf one part at a time may wait for them.
        _log.warning("docket part waits for an old transaction", part=part.name)
        return False
    _log.info("docket part detached", part=part.name, shelf=part.shelf.value)
    return True


def _put(db: Database, part: Part, *, back: bool, drops: bool) -> None:
    with db.transaction() as conn:
        if back:
            docket_parts.bring_back(conn, part)
            _log.info("docket part brought back", part=part.name)
        # Asked again, because nothing brings a dropped part back.
        elif drops and docket_parts.all_covered(conn, part):
            docket_parts.drop(conn, part)
            _log.info("docket part dropped", part=part.name)
        else:
            docket_parts.archive(conn, part)
            _log.info("docket part archived", part=part.name)
