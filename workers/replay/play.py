"""One recorded closing through one whole court: its blocks, its webhooks, then our own sweeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from workers.replay.feed import fee_wallet_document, key_document, opened, webhooks
from workers.replay.fixture import Fixture
from workers.replay.peer_moves import PeerMoves
from workers.simulation.client import CourtClient, NodeAccount

#: The case ends here when nothing moves any more, or goes on to the next of its deadlines.
_MOST_BLOCKS = 2_016


@dataclass(slots=True)
class Outcome:
    """What became of one recorded channel. Amounts in satoshi."""

    name: str
    expected_kind: str
    kind: str | None = None
    state: str = "DEFAULT"
    closing_txid: str | None = None
    our_transactions: list[dict[str, Any]] = field(default_factory=list)
    gained_sat: int = 0
    fees_sat: int = 0
    recorded_gain_sat: int = 0
    recorded_fees_sat: int = 0
    waits_for: list[str] = field(default_factory=list)
    #: What the court's own account says of both.
    account_won_sat: int = 0
    account_fees_sat: int = 0
    problem: str = ""

    @classmethod
    def of(cls, fixture: Fixture) -> Outcome:
        """What is to be compared with, before anything is played."""
        result = fixture.document["result"]
        return cls(
            name=fixture.name,
            expected_kind=fixture.close_kind,
            recorded_gain_sat=result["gained_from_closing_tx_sat"]["A"],
            recorded_fees_sat=result["onchain_fees_paid_sat"]["A"],
        )

    @property
    def net_sat(self) -> int:
        return self.gained_sat - self.fees_sat

    @property
    def recorded_net_sat(self) -> int:
        return self.recorded_gain_sat - self.recorded_fees_sat


def play(fixture: Fixture, court: CourtClient) -> Outcome:
    """Run the recording to its end. The court must be fresh: its chain begins at genesis."""
    outcome = Outcome.of(fixture)
    node = court.add_node("recorded", bytes.fromhex(fixture.sweep_script))
    court.import_keys(key_document(fixture))
    court.import_keys(fee_wallet_document(fixture, node.name))
    peer = PeerMoves(fixture, court)
    for block in fixture.blocks[: fixture.close_height - 1]:
        court.rpc("submitblock", block)
    _tell(fixture, court, node)
    _close(fixture, court, node, peer)
    _follow_to_the_end(fixture, court, peer)
    account(fixture, court, outcome)
    return outcome


def _tell(fixture: Fixture, court: CourtClient, node: NodeAccount) -> None:
    court.webhook(node, "channel.opened", opened(fixture))
    for event_type, data in webhooks(fixture):
        court.webhook(node, event_type, data)


def _close(fixture: Fixture, court: CourtClient, node: NodeAccount, peer: PeerMoves) -> None:
    """Let the close happen as it did: by our own request, or by the recorded block."""
    court.wait_quiet()
    if not fixture.closed_by_us:
        court.rpc("submitblock", fixture.blocks[fixture.close_height - 1])
        return
    court.webhook(
        node,
        "force_close.requested",
        {"channel_point": fixture.channel_point, "reason": "as recorded"},
    )
    court.wait_until(
        lambda: fixture.closing_txid in court.rpc("getrawmempool"),
        f"our commitment {fixture.closing_txid} in the mempool",
    )
    peer.mine_one()


def _follow_to_the_end(fixture: Fixture, court: CourtClient, peer: PeerMoves) -> None:
    """Mine until the case is resolved, or nothing that we do can move it further."""
    last = fixture.close_height + _MOST_BLOCKS
    while (height := court.height()) < last:
        court.wait_quiet()
        case = court.channel(fixture.channel_point)
        if case["state"] == "FULLY_RESOLVED":
            return
        if not court.rpc("getrawmempool"):
            due = _next_height(case, height, peer)
            if due is None:
                return
            if due - 1 > height:
                court.mine(due - 1 - height)
        peer.mine_one()


def _next_height(case: dict[str, Any], height: int, peer: PeerMoves) -> int | None:
    """The next height at which something happens: one of our deadlines, or the peer's moves."""
    due = [d["height"] for d in case["deadlines"] if d["height"] > height]
    if case["state"] in ("CONTRACT_CLOSED", "WAITING_FULL_RESOLUTION"):
        due += peer.heights_after(height)
    return min(due, default=None)


def account(fixture: Fixture, court: CourtClient, outcome: Outcome) -> None:
    """Fill in how the channel ended, from what the court shows."""
    case = court.channel(fixture.channel_point)
    outcome.state = case["state"]
    outcome.kind = case["close_kind"]
    outcome.closing_txid = case["closing_txid"]
    outcome.waits_for = [
        c["kind"] for c in case["contracts"] if c["stage"] not in ("resolved", "spent")
    ]
    told = court.account(fixture.channel_point)
    outcome.account_won_sat = told["won_sat"]
    outcome.account_fees_sat = sum(line["fee_sat"] for line in told["lines"])
    closing = Transaction.parse(bytes.fromhex(fixture.document["closing_tx"]["hex"]))
    values = [output.value for output in closing.outputs]
    if outcome.kind == "cooperative":
        ours = bytes.fromhex(fixture.shutdown_script)
        outcome.gained_sat = sum(o.value for o in closing.outputs if o.script_pubkey == ours)
        # The recording pays for one more transaction, which moves that output to its wallet.
        outcome.recorded_fees_sat = 0
    for broadcast in case["broadcasts"]:
        tx = Transaction.parse(bytes.fromhex(broadcast["tx"]))
        outcome.our_transactions.append(
            {k: broadcast[k] for k in ("txid", "purpose", "state")} | {"hex": broadcast["tx"]}
        )
        if broadcast["state"] != "confirmed" or broadcast["purpose"] == "commitment":
            continue
        outcome.gained_sat += sum(
            values[i.outpoint.vout] for i in tx.inputs if i.outpoint.txid == closing.txid()
        )
        spent = sum(_value_of(court, i.outpoint) for i in tx.inputs)
        outcome.fees_sat += spent - sum(output.value for output in tx.outputs)


def _value_of(court: CourtClient, outpoint: OutPoint) -> int:
    previous = court.rpc("getrawtransaction", str(outpoint.txid))
    return Transaction.parse(bytes.fromhex(previous)).outputs[outpoint.vout].value
