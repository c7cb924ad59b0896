"""Checkpoints: from where each channel's docket is proved on, when what came before may be gone."""

from __future__ import annotations

from dataclasses import dataclass

from contractcourt.case import Case
from contractcourt.codec import decode, encode
from storage.database import Connection

READ = """
    SELECT seq, hash, case_json FROM docket_checkpoints WHERE channel_id = %(channel_id)s
"""
PUT = """
    INSERT INTO docket_checkpoints AS k (channel_id, seq, hash, case_json)
    SELECT %(channel_id)s, d.seq, d.hash, %(case_json)s
    FROM docket_history AS d
    WHERE d.channel_id = %(channel_id)s AND d.seq = %(seq)s
    ON CONFLICT (channel_id) DO UPDATE
        SET seq = EXCLUDED.seq, hash = EXCLUDED.hash, case_json = EXCLUDED.case_json,
            made_at = clock_timestamp()
        WHERE k.seq < EXCLUDED.seq
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the law had made of a docket when it had applied entry `seq`, whose hash is `hash`."""

    seq: int
    hash: bytes
    case: Case


def read(conn: Connection, channel_id: int) -> Checkpoint | None:
    """A channel's checkpoint; None as long as its whole docket is there."""
    row = conn.execute(READ, {"channel_id": channel_id}).fetchone()
    return None if row is None else Checkpoint(row[0], row[1], decode(row[2], Case))


def put(conn: Connection, channel_id: int, seq: int, case: Case) -> None:
    """Move a channel's checkpoint up to an applied entry. The caller has proved the case."""
    facts = {"channel_id": channel_id, "seq": seq, "case_json": encode(case).decode()}
    conn.execute(PUT, facts)
