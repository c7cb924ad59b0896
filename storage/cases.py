"""The cases: what the law knows of each channel, stored as one record and one version.

Whoever advances a case holds its row (`lock`, `lock_one`) from reading to storing, and stores
with a compare-and-set on the version besides: a case is never advanced twice from one state (P4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.arbitrator import urgency
from contractcourt.arbitrator.urgency import Revocation
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.codec import MalformedRecord, decode, decode_whole, encode
from storage.database import Connection
from storage.errors import StaleCase, UnknownChannel, UnreadableRecord

#: Row by row on purpose: `unapplied` is empty most of the time, statistics say so, and a plan
#: made for an empty table reads all of it for each row of a burst. And from where the case stood:
#: rows taken off before that, which a long transaction may keep, are not met again (users_ask P1).
_DELETE_APPLIED = """
        DELETE FROM unapplied WHERE ctid = ANY(ARRAY(
            SELECT waiting.ctid FROM {source} AS done
            CROSS JOIN LATERAL (
                SELECT u.ctid FROM unapplied AS u
                WHERE u.channel_id = done.channel_id
                  AND u.seq > done.applied_from AND u.seq <= done.applied_seq
                OFFSET 0
            ) AS waiting))
"""
INSERT_CASES = f"""
    WITH given AS (
        SELECT *, 0 AS applied_from
        FROM unnest(%(channel_ids)s::bigint[], %(cases)s::text[],
                    %(applied_seqs)s::bigint[], %(states)s::text[],
                    %(factors)s::bigint[], %(revoked_below)s::bigint[])
            AS row (channel_id, case_json, applied_seq, state, obscuring_factor, revoked_below)
    ), applied AS ({_DELETE_APPLIED.format(source="given")}), shown AS (
        UPDATE channels AS c SET state = given.state FROM given
        WHERE c.id = given.channel_id AND c.state <> given.state
    )
    INSERT INTO cases (channel_id, case_json, applied_seq, obscuring_factor, revoked_below)
    SELECT channel_id, case_json, applied_seq, obscuring_factor, revoked_below FROM given
"""
#: What one transaction reads of cases that it advances: a thousand usual ones, or a dozen with 483
#: HTLCs. The law takes 20 ms for one of those, and each becomes 560 effects.
MOST_BYTES = 4_000_000
_COLUMNS = "channel_id, case_json, applied_seq, version"
#: The newest version first: all the older ones, which a long transaction may keep, are not met.
_NEWEST = "ORDER BY version DESC LIMIT 1"
_NEWEST_OF_EACH = f"""
    SELECT k.* FROM unnest(%(channel_ids)s::bigint[]) AS asked (channel_id)
    CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM cases WHERE channel_id = asked.channel_id {_NEWEST} {{locking}}
    ) AS k
    ORDER BY k.channel_id
"""
#: All are locked, and so many are read as `most_bytes` of them have room for, one at least.
LOCK_CASES = f"""
    SELECT channel_id, CASE WHEN bytes <= %(most_bytes)s OR place = 1 THEN case_json END,
           applied_seq, version
    FROM (
        SELECT held.*, sum(octet_length(case_json)) OVER so_far AS bytes,
               row_number() OVER so_far AS place
        FROM ({_NEWEST_OF_EACH.format(locking="FOR UPDATE SKIP LOCKED")}) AS held
        WINDOW so_far AS (ORDER BY channel_id ROWS UNBOUNDED PRECEDING)
    ) AS measured
    ORDER BY channel_id
"""
#: A case that the asker has read at this version is not sent again.
LOCK_CASE = f"""
    SELECT channel_id, CASE WHEN version = %(seen)s::bigint THEN NULL ELSE case_json END,
           applied_seq, version
    FROM cases
    WHERE channel_id = %(channel_id)s {_NEWEST}
    FOR UPDATE
"""
HOLD_CASES = f"""
    SELECT k.channel_id FROM unnest(%(channel_ids)s::bigint[]) AS asked (channel_id)
    CROSS JOIN LATERAL (
        SELECT channel_id FROM cases WHERE channel_id = asked.channel_id {_NEWEST} FOR UPDATE
    ) AS k
"""
READ_CASES = _NEWEST_OF_EACH.format(locking="")
READ_CASE = f"SELECT {_COLUMNS} FROM cases WHERE channel_id = %(channel_id)s {_NEWEST}"
FIND_CASE = f"""
    SELECT k.* FROM channels AS c CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM cases WHERE channel_id = c.id {_NEWEST}
    ) AS k
    WHERE c.channel_point = %(channel_point)s AND c.node = %(node)s
"""
STORE_CASES = f"""
    WITH given AS (
        SELECT * FROM unnest(%(channel_ids)s::bigint[], %(cases)s::text[],
                             %(applied_seqs)s::bigint[], %(versions)s::bigint[],
                             %(states)s::text[], %(revoked_below)s::bigint[],
                             %(applied_froms)s::bigint[])
            AS row (channel_id, case_json, applied_seq, version, state, revoked_below,
                    applied_from)
    ), stored AS (
        UPDATE cases AS k
        SET case_json = given.case_json, applied_seq = given.applied_seq,
            revoked_below = given.revoked_below, version = k.version + 1,
            updated_at = clock_timestamp()
        FROM given
        WHERE k.channel_id = given.channel_id AND k.version = given.version
        RETURNING k.channel_id, k.applied_seq, given.state, given.applied_from
    ), applied AS ({_DELETE_APPLIED.format(source="stored")}), shown AS (
        UPDATE channels AS c SET state = stored.state FROM stored
        WHERE c.id = stored.channel_id AND c.state <> stored.state
    )
    SELECT channel_id FROM stored
"""
REVOCATIONS = """
    SELECT channel_id, obscuring_factor, revoked_below FROM cases
    WHERE channel_id = ANY(%(channel_ids)s) AND obscuring_factor IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class StoredCase:
    """A case as read, or as it shall be stored.

    `version` is always the one that was read; `applied_from` is what it had applied then.
    """

    channel_id: int
    case: Case
    applied_seq: int
    version: int
    applied_from: int


def insert(conn: Connection, channel_id: int, case: Case, applied_seq: int) -> None:
    """Store a channel's first case, which has applied its docket up to `applied_seq`."""
    insert_many(conn, [(channel_id, case, applied_seq)])


def insert_many(conn: Connection, given: Sequence[tuple[int, Case, int]]) -> None:
    """`insert` for many (channel id, case, applied entries), in one statement."""
    facts = {
        "channel_ids": [channel_id for channel_id, _, _ in given],
        "cases": [encode(case).decode() for _, case, _ in given],
        "applied_seqs": [applied_seq for _, _, applied_seq in given],
        "states": [case.state.value for _, case, _ in given],
        "factors": [urgency.obscuring_factor(case.channel) for _, case, _ in given],
        "revoked_below": [urgency.revoked_below(case) for _, case, _ in given],
    }
    conn.execute(INSERT_CASES, facts)


def lock(conn: Connection, channel_ids: Sequence[int]) -> tuple[list[StoredCase], dict[int, int]]:
    """Lock these cases, and read as many as `MOST_BYTES` have room for, one at least.

    Returns:
        The cases by channel id, without those that another worker holds, and by channel id what
        those have applied that are too many. Whoever wanted them meanwhile left them to this
        transaction.
    """
    facts = {"channel_ids": list(channel_ids), "most_bytes": MOST_BYTES}
    rows = conn.execute(LOCK_CASES, facts).fetchall()
    fitting = [_whole_case(*row) for row in rows if row[1] is not None]
    return fitting, {row[0]: row[2] for row in rows if row[1] is None}


def lock_one(conn: Connection, channel_id: int, seen: StoredCase | None = None) -> StoredCase:
    """Lock and read one case, waiting for whoever holds it.

    Args:
        seen: as it was read before; the answer, if it has not been stored since.

    Raises:
        UnknownChannel: the channel has no case.
        psycopg.errors.LockNotAvailable: it was held for longer than the lock timeout.
    """
    facts = {"channel_id": channel_id, "seen": None if seen is None else seen.version}
    row = conn.execute(LOCK_CASE, facts).fetchone()
    if row is None:
        raise UnknownChannel(f"channel {channel_id} has no case")
    if seen is not None and row[1] is None:
        return seen
    return _whole_case(*row)


def hold(conn: Connection, channel_ids: Sequence[int]) -> None:
    """Lock these cases, waiting for whoever holds them; nothing is done about fewer than two.

    In the order of the channels, so that two who want the same never wait for each other.
    """
    if len(channel_ids) > 1:
        conn.execute(HOLD_CASES, {"channel_ids": sorted(channel_ids)})


def read(conn: Connection, channel_id: int) -> StoredCase | None:
    """A channel's case as last committed, without locking it."""
    with conn.cursor(row_factory=args_row(_stored_case)) as cursor:
        return cursor.execute(READ_CASE, {"channel_id": channel_id}).fetchone()


def find(conn: Connection, node: str, channel_point: OutPoint) -> StoredCase | None:
    """A case as last committed, for `lock_one`, by its channel's name, if it is this node's."""
    facts = {"node": node, "channel_point": channel_point}
    with conn.cursor(row_factory=args_row(_whole_case)) as cursor:
        return cursor.execute(FIND_CASE, facts).fetchone()


def read_many(conn: Connection, channel_ids: Sequence[int]) -> list[StoredCase]:
    """`read` of many channels, by channel id."""
    with conn.cursor(row_factory=args_row(_stored_case)) as cursor:
        return cursor.execute(READ_CASES, {"channel_ids": list(channel_ids)}).fetchall()


def legible(conn: Connection, channel_ids: Sequence[int]) -> dict[int, Case]:
    """The cases of these channels as last committed, by channel id.

    Without those that only another version can read: they wait for it, and no others with them.
    """
    found: dict[int, Case] = {}
    for row in conn.execute(READ_CASES, {"channel_ids": list(channel_ids)}):
        with suppress(UnreadableRecord):
            found[row[0]] = _stored_case(*row).case
    return found


def revocations(conn: Connection, channel_ids: Sequence[int]) -> dict[int, Revocation]:
    """What of each channel is revoked, by channel id, without reading the cases themselves."""
    rows = conn.execute(REVOCATIONS, {"channel_ids": list(channel_ids)})
    return {channel_id: Revocation(factor, below) for channel_id, factor, below in rows}


def store(conn: Connection, stored: StoredCase) -> None:
    """Store one case. See `store_many`."""
    store_many(conn, [stored])


def store_many(conn: Connection, cases: Iterable[StoredCase]) -> None:
    """Store cases with what they have applied; one statement, however many.

    Takes the applied entries off `unapplied` and shows each case's state in `channels`. The
    version that was read must still be the stored one.

    Raises:
        StaleCase: it was not, for at least one; roll the transaction back.
    """
    given = list(cases)
    if not given:
        return
    facts = {
        "channel_ids": [stored.channel_id for stored in given],
        "cases": [encode(stored.case).decode() for stored in given],
        "applied_seqs": [stored.applied_seq for stored in given],
        "applied_froms": [stored.applied_from for stored in given],
        "versions": [stored.version for stored in given],
        "states": [stored.case.state.value for stored in given],
        "revoked_below": [urgency.revoked_below(stored.case) for stored in given],
    }
    written = {row[0] for row in conn.execute(STORE_CASES, facts)}
    for stored in given:
        if stored.channel_id not in written:
            raise StaleCase(
                f"the case of channel {stored.channel_id} is no longer at version {stored.version}"
            )


def _whole_case(channel_id: int, case_json: str, applied_seq: int, version: int) -> StoredCase:
    """For who stores it again: what only a newer version knows would be lost."""
    try:
        case = decode_whole(case_json, Case)
    except MalformedRecord as error:
        raise UnreadableRecord(f"the case of channel {channel_id}: {error}") from error
    return StoredCase(channel_id, case, applied_seq, version, applied_seq)


def _stored_case(channel_id: int, case_json: str, applied_seq: int, version: int) -> StoredCase:
    try:
        case = decode(case_json, Case)
    except MalformedRecord as error:
        raise UnreadableRecord(f"the case of channel {channel_id}: {error}") from error
    return StoredCase(channel_id, case, applied_seq, version, applied_seq)
