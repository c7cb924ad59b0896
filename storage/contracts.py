"""The contracts of closed channels as rows, for pages, alarms and the rule that a channel is
fully resolved only when all of them are. The case holds the same in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.units import BlockHeight, PaymentHash, Satoshi, Txid
from storage.database import Connection

DELETE_OTHERS = """
    DELETE FROM contracts AS c
    WHERE c.channel_id = ANY(%(replaced)s)
      AND NOT EXISTS (
          SELECT 1 FROM unnest(%(channel_ids)s::bigint[], %(outpoints)s::bytea[])
              AS given (channel_id, outpoint)
          WHERE given.channel_id = c.channel_id AND given.outpoint = c.outpoint)
"""
UPSERT = """
    INSERT INTO contracts AS c (
        channel_id, outpoint, kind, value_sat, stage, confirmed_height, payment_hash,
        cltv_expiry, spend_txid, spend_height, ours)
    SELECT * FROM unnest(
        %(channel_ids)s::bigint[], %(outpoints)s::bytea[], %(kinds)s::text[],
        %(values)s::bigint[], %(stages)s::text[], %(confirmed)s::integer[],
        %(payment_hashes)s::bytea[], %(expiries)s::bigint[],
        %(spend_txids)s::bytea[], %(spend_heights)s::integer[], %(ours)s::boolean[])
    ON CONFLICT (channel_id, outpoint) DO UPDATE SET
        kind = EXCLUDED.kind, value_sat = EXCLUDED.value_sat, stage = EXCLUDED.stage,
        confirmed_height = EXCLUDED.confirmed_height, payment_hash = EXCLUDED.payment_hash,
        cltv_expiry = EXCLUDED.cltv_expiry, spend_txid = EXCLUDED.spend_txid,
        spend_height = EXCLUDED.spend_height, ours = EXCLUDED.ours
    WHERE (c.kind, c.value_sat, c.stage, c.confirmed_height, c.spend_txid, c.spend_height, c.ours)
        IS DISTINCT FROM (EXCLUDED.kind, EXCLUDED.value_sat, EXCLUDED.stage,
           EXCLUDED.confirmed_height, EXCLUDED.spend_txid, EXCLUDED.spend_height, EXCLUDED.ours)
"""
LIST_CONTRACTS = """
    SELECT channel_id, outpoint, kind, value_sat, stage, confirmed_height, payment_hash,
           cltv_expiry, spend_txid, spend_height, ours
    FROM contracts
    WHERE channel_id = %(channel_id)s
    ORDER BY outpoint
"""
CLAIMABLE_BY_HASH = """
    SELECT outpoint, channel_id FROM contracts
    WHERE kind = 'offered_htlc' AND spend_txid IS NULL AND stage <> 'resolved'
    ORDER BY cltv_expiry, outpoint
    LIMIT %(limit)s
"""
REVOKED = """
    SELECT c.channel_id
    FROM unnest(%(channel_ids)s::bigint[], %(outpoints)s::bytea[]) AS given (channel_id, outpoint)
    JOIN contracts AS c USING (channel_id, outpoint)
    WHERE c.kind IN ('revoked_to_local', 'revoked_htlc', 'revoked_second_level')
"""


@dataclass(frozen=True, slots=True)
class ContractRow:
    """One contract."""

    channel_id: int
    outpoint: OutPoint
    kind: ContractKind
    value_sat: Satoshi
    stage: ContractStage
    confirmed_height: BlockHeight
    payment_hash: PaymentHash | None
    cltv_expiry: BlockHeight | None
    spend_txid: Txid | None
    spend_height: BlockHeight | None
    ours: bool | None


def replace(conn: Connection, channel_id: int, contracts: tuple[Contract, ...]) -> None:
    """Make these the contracts of a channel."""
    replace_many(conn, [(channel_id, contracts)])


def replace_many(conn: Connection, given: Sequence[tuple[int, tuple[Contract, ...]]]) -> None:
    """`replace` for many channels in two statements; rows that have not changed stay untouched."""
    if not given:
        return
    pairs = [(channel_id, contract) for channel_id, group in given for contract in group]
    contracts = [contract for _, contract in pairs]
    spends = [contract.spend for contract in contracts]
    htlcs = [contract.htlc for contract in contracts]
    facts = {
        "replaced": [channel_id for channel_id, _ in given],
        "channel_ids": [channel_id for channel_id, _ in pairs],
        "outpoints": [contract.outpoint for contract in contracts],
        "kinds": [contract.kind.value for contract in contracts],
        "values": [contract.value_sat for contract in contracts],
        "stages": [contract.stage.value for contract in contracts],
        "confirmed": [contract.confirmed_height for contract in contracts],
        "payment_hashes": [None if htlc is None else htlc.payment_hash for htlc in htlcs],
        "expiries": [None if htlc is None else htlc.cltv_expiry for htlc in htlcs],
        "spend_txids": [None if spend is None else spend.txid for spend in spends],
        "spend_heights": [None if spend is None else spend.height for spend in spends],
        "ours": [contract.ours for contract in contracts],
    }
    conn.execute(DELETE_OTHERS, facts)
    if pairs:
        conn.execute(UPSERT, facts)


def claimable_by_hash(conn: Connection, limit: int) -> dict[OutPoint, int]:
    """Unspent HTLCs that we offered, whose claim would show a preimage; each with its channel."""
    rows = conn.execute(CLAIMABLE_BY_HASH, {"limit": limit})
    return {OutPoint(outpoint): channel_id for outpoint, channel_id in rows}


def revoked(conn: Connection, spent: Sequence[tuple[int, OutPoint]]) -> set[int]:
    """Those of these channels whose outpoint stands on a revoked commitment."""
    facts = {
        "channel_ids": [channel_id for channel_id, _ in spent],
        "outpoints": [outpoint for _, outpoint in spent],
    }
    return {row[0] for row in conn.execute(REVOKED, facts)}


def list_for(conn: Connection, channel_id: int) -> list[ContractRow]:
    """The contracts of one channel."""
    with conn.cursor(row_factory=args_row(_contract_row)) as cursor:
        return cursor.execute(LIST_CONTRACTS, {"channel_id": channel_id}).fetchall()


def _contract_row(
    channel_id: int,
    outpoint: bytes,
    kind: str,
    value_sat: int,
    stage: str,
    confirmed: int,
    payment_hash: bytes | None,
    cltv_expiry: int | None,
    spend_txid: bytes | None,
    spend_height: int | None,
    ours: bool | None,
) -> ContractRow:
    return ContractRow(
        channel_id=channel_id,
        outpoint=OutPoint(outpoint),
        kind=ContractKind(kind),
        value_sat=Satoshi(value_sat),
        stage=ContractStage(stage),
        confirmed_height=BlockHeight(confirmed),
        payment_hash=None if payment_hash is None else PaymentHash(payment_hash),
        cltv_expiry=None if cltv_expiry is None else BlockHeight(cltv_expiry),
        spend_txid=None if spend_txid is None else Txid(spend_txid),
        spend_height=None if spend_height is None else BlockHeight(spend_height),
        ours=ours,
    )
