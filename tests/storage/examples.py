"""Channels, contracts and events to store. Storage looks into none of their keys."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case, State
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Channel, ChannelSide, KeyRef, Side
from contractcourt.contract import Contract, ContractKind, ContractStage, Spend
from contractcourt.effects import CloseKind, MarkChannelClosed
from contractcourt.events import ChannelOpened, HeightReached
from contractcourt.units import (
    BlockHash,
    BlockHeight,
    Blocks,
    PublicKey,
    Satoshi,
    Script,
    Txid,
)
from storage import cases, channels, docket, fee_coins, fee_wallets, node_secrets, nodes
from storage.database import Connection
from storage.fee_coins import NewCoin
from tasks.webhook_key import seal_under

#: Seals the webhook secrets of nodes.
WEBHOOK_KEY = "the webhook key of all the tests"
WEBHOOK_SEAL = seal_under(WEBHOOK_KEY)
NODE = "alice"
SWEEP_SCRIPT = Script(b"\x00\x14" + bytes(20))


def txid(number: int) -> Txid:
    return Txid(number.to_bytes(32, "big"))


def block_hash(number: int) -> BlockHash:
    return BlockHash(number.to_bytes(32, "little"))


def outpoint(number: int, vout: int = 0) -> OutPoint:
    return OutPoint.of(txid(number), vout)


def channel(number: int, node: str = NODE) -> Channel:
    point = PublicKey(b"\x02" + number.to_bytes(32, "big"))
    side = ChannelSide(
        funding_pubkey=point,
        revocation_basepoint=point,
        payment_basepoint=point,
        delayed_payment_basepoint=point,
        htlc_basepoint=point,
        to_self_delay=Blocks(144),
        dust_limit_sat=Satoshi(354),
    )
    return Channel(
        channel_point=outpoint(number),
        node=node,
        funding_outpoint=outpoint(number),
        capacity_sat=Satoshi(1_000_000),
        channel_type=ANCHORS_ZERO_FEE_HTLC,
        opener=Side.LOCAL,
        local=side,
        remote=side,
        sweep_script=SWEEP_SCRIPT,
        key_ref=KeyRef("raw"),
    )


def contract(
    number: int,
    stage: ContractStage = ContractStage.IMMATURE,
    spend: Spend | None = None,
) -> Contract:
    return Contract(
        outpoint=outpoint(number),
        kind=ContractKind.TO_LOCAL,
        value_sat=Satoshi(500_000),
        script_pubkey=SWEEP_SCRIPT,
        commitment_owner=Side.LOCAL,
        commitment_number=7,
        per_commitment_point=None,
        csv_delay=Blocks(144),
        stage=stage,
        confirmed_height=BlockHeight(100),
        spend=spend,
    )


def closed(*contracts: Contract) -> MarkChannelClosed:
    return MarkChannelClosed(CloseKind.LOCAL, txid(9), BlockHeight(106), contracts)


def height(number: int) -> HeightReached:
    return HeightReached(BlockHeight(number))


def add_node(conn: Connection, name: str = NODE) -> None:
    nodes.add_node(conn, name, [SWEEP_SCRIPT])
    node_secrets.issue(conn, WEBHOOK_SEAL, name)


def open_channel(conn: Connection, number: int = 1, node: str = NODE) -> int:
    """Register a channel of a known node, with its first docket entry and its case."""
    facts = channel(number, node)
    channel_id = channels.register(conn, facts)
    assert channel_id is not None
    docket.append(conn, channel_id, ChannelOpened(facts), idempotency_key="open", source="node")
    cases.insert(conn, channel_id, Case(facts), applied_seq=1)
    return channel_id


def set_state(conn: Connection, channel_id: int, state: State) -> None:
    """As `storage.cases` does with the case's own."""
    conn.execute("UPDATE channels SET state = %s WHERE id = %s", (state.value, channel_id))


def give_coins(conn: Connection, node: str, *values_sat: int) -> None:
    """Confirmed coins of these values for a node's fee wallet."""
    script = Script(b"\x00\x14" + node.encode().ljust(20, b"\0"))
    fee_wallets.put_scripts(conn, node, [script])
    fee_coins.add(
        conn,
        [
            NewCoin(outpoint(value, 9), script, Satoshi(value), BlockHeight(1), block_hash(1))
            for value in values_sat
        ],
    )
