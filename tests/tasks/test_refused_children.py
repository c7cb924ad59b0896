"""What no test comes before, and the Bitcoin node refuses when it is sent (users_ask B7)."""

from __future__ import annotations

import pytest

from chain.devnet.process import DevnetProcess
from contractcourt.arbitrator import stakes
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.case import State
from contractcourt.events import ForceCloseRequested
from contractcourt.units import FeeratePerKw, HexBytes, Satoshi, WeightUnits
from storage import alarms, broadcasts, cases, signed
from storage.broadcasts import BUMP, COMMITMENT, Broadcast
from storage.database import Connection
from storage.signed import Price, Signed, SpentInput
from tasks.arbitration import arbitrate
from tasks.resources import Resources
from tasks.sending import send
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import open_channel

_ASKED = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")
_PRICE = Price(Satoshi(200), WeightUnits(700), FeeratePerKw(253))


def _stored(conn: Connection, channel_id: int) -> list[Broadcast]:
    """Our commitment, and a child of it."""
    stored = cases.read(conn, channel_id)
    assert stored is not None
    ours = stakes.decided_commitment(stored.case)
    assert ours is not None
    funding = SpentInput(stored.case.channel.funding_outpoint, channel_id, Satoshi(0))
    anchor = OutPoint.of(ours.txid, 0)
    child = Transaction(2, (TxIn(anchor),), (TxOut(330, bytes(22)),), 0)
    raw = HexBytes(child.serialize())
    spent = [SpentInput(anchor, channel_id, Satoshi(200))]
    return signed.store_many(
        conn,
        [
            Signed(channel_id, COMMITMENT, ours.txid, ours.tx, [funding], _PRICE),
            Signed(channel_id, BUMP, child.txid(), raw, spent, _PRICE, ours.txid),
        ],
    )


@pytest.mark.parametrize("reason", ["too-large-cluster", "words of a release to come"])
def test_b7_a_child_that_no_longer_fits_beside_the_peers_is_alarmed(
    reason: str, held: Resources, devnet: DevnetProcess
) -> None:
    _, channel_id = open_channel(held.db, "filled cluster")
    ChainEvents(held.db, channel_id).tell(_ASKED)
    parent, child = held.db.run(lambda conn: _stored(conn, channel_id))
    told = {
        "package_msg": "transaction failed",
        "tx-results": {
            "parent": {"txid": str(parent.txid)},
            "child": {"txid": str(child.txid), "error": reason},
        },
    }
    devnet.rpc("devnet_set_fault", method="submitpackage", calls=1, result=told)
    send(held, [child])
    answered = held.db.run(lambda conn: broadcasts.find_many(conn, [parent.txid, child.txid]))
    assert answered[parent.txid].last_outcome == "accepted"
    [alarm] = held.db.run(lambda conn: alarms.list_open(conn, channel_id=channel_id))
    assert alarm.kind == "unknown_refusal"
    assert reason in alarm.message


def test_l5_of_two_who_send_our_commitment_at_once_both_are_heard(
    held: Resources, devnet: DevnetProcess
) -> None:
    """The publisher, and who sends it again with a new block: the node took it after all."""
    _, channel_id = open_channel(held.db, "sent twice at once")
    chain = ChainEvents(held.db, channel_id)
    chain.tell(_ASKED)
    ours, _ = held.db.run(lambda conn: _stored(conn, channel_id))
    odd = {"code": -26, "message": "words of a release to come"}
    devnet.rpc("devnet_set_fault", method="sendrawtransaction", calls=1, error=odd)
    send(held, [ours])
    arbitrate(held.db, [channel_id])
    assert chain.case().state is State.BROADCAST_COMMIT
    devnet.rpc("devnet_set_fault", method="sendrawtransaction", calls=1, result=str(ours.txid))
    send(held, [ours])
    arbitrate(held.db, [channel_id])
    assert chain.case().state is State.COMMITMENT_BROADCASTED
