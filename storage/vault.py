"""The signer's own tables: sealed records and what it has signed.

Only the signer's process reads and writes here. What it seals is opaque to Postgres.
"""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import Txid
from storage.database import Connection

PUT_SEALED = """
    INSERT INTO sealed_secrets (name, sealed) VALUES (%(name)s, %(sealed)s)
    ON CONFLICT (name) DO NOTHING
"""
GET_SEALED = "SELECT name, sealed FROM sealed_secrets WHERE name = ANY(%(names)s)"
SOME_SEALED = "SELECT name, sealed FROM sealed_secrets ORDER BY name LIMIT %(limit)s"
RECORD_SIGNED = """
    INSERT INTO signed_commitments (funding_outpoint, txid)
    VALUES (%(funding_outpoint)s, %(txid)s)
    ON CONFLICT (funding_outpoint) DO NOTHING
"""
FIND_SIGNED = "SELECT txid FROM signed_commitments WHERE funding_outpoint = %(funding_outpoint)s"


def put_sealed(conn: Connection, name: str, sealed: bytes) -> bool:
    """Keep a sealed secret under a name; False when one is there, which stays.

    It waits for whoever stores one of that name just now.
    """
    return conn.execute(PUT_SEALED, {"name": name, "sealed": sealed}).rowcount == 1


def get_sealed(conn: Connection, name: str) -> bytes | None:
    """The sealed secret of this name."""
    return get_sealed_many(conn, [name]).get(name)


def get_sealed_many(conn: Connection, names: Sequence[str]) -> dict[str, bytes]:
    """The sealed secrets of these names, as far as they are there, in one statement."""
    rows = conn.execute(GET_SEALED, {"names": list(names)})
    return {str(name): bytes(sealed) for name, sealed in rows}


def some_sealed(conn: Connection, limit: int) -> dict[str, bytes]:
    """So many of the sealed secrets, the same ones each time."""
    rows = conn.execute(SOME_SEALED, {"limit": limit})
    return {str(name): bytes(sealed) for name, sealed in rows}


def record_signed_commitment(conn: Connection, funding_outpoint: OutPoint, txid: Txid) -> Txid:
    """The one commitment that may be signed for a funding output: the first recorded (P3).

    Commit before the signature leaves the process, and sign only if the answer is `txid`.
    """
    conn.execute(RECORD_SIGNED, {"funding_outpoint": funding_outpoint, "txid": txid})
    signed = signed_commitment(conn, funding_outpoint)
    assert signed is not None
    return signed


def signed_commitment(conn: Connection, funding_outpoint: OutPoint) -> Txid | None:
    """The commitment recorded for a funding output."""
    row = conn.execute(FIND_SIGNED, {"funding_outpoint": funding_outpoint}).fetchone()
    return None if row is None else Txid(row[0])
