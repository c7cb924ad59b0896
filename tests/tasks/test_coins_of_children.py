"""Whose coin it is while the Bitcoin node does not take a child of our commitment (L10)."""

from __future__ import annotations

import json

import msgspec
import pytest

from chain.devnet.process import DevnetProcess
from contractcourt.arbitrator import stakes
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Side
from contractcourt.events import ForceCloseRequested
from contractcourt.units import BlockHeight, FeeratePerKw, HexBytes, Satoshi, WeightUnits
from storage import cases, signed, sweep_inputs
from storage.broadcasts import COMMITMENT
from storage.database import Connection
from storage.signed import Price, Signed, SpentInput
from storage.sweep_inputs import Wish
from tasks.resources import Resources
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import open_funded
from tests.tasks.sweeps import NODE, STARTED, Sweeps
from workers.simulation.channel import SimulatedChannel

_ASKED = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")
_PRICE = Price(Satoshi(200), WeightUnits(700), FeeratePerKw(253))
#: What Bitcoin Core says while the peer's commitment lies in its mempool and pays more.
_OUTBID = {"package_msg": "package RBF failed: insufficient anti-DoS fees", "tx-results": {}}


def _published(world: Sweeps, name: str, deadline: int) -> OutPoint:
    """Our commitment on its way, with a child that is wanted by then; its anchor."""
    sim = SimulatedChannel(name, node=NODE, feerate_per_kw=253)
    paid = world.rpc("devnet_fund", sim.funding_script_pubkey.hex(), sim.capacity_sat)
    world.rpc("devnet_mine", 1)
    db = world.held.db
    channel_id = open_funded(db, sim.funded(OutPoint.parse(paid)))
    world.held.signer.import_keys(json.dumps(sim.key_document()).encode())
    ChainEvents(db, channel_id).tell(_ASKED)

    def work(conn: Connection) -> OutPoint:
        stored = cases.read(conn, channel_id)
        assert stored is not None
        ours = stakes.decided_commitment(stored.case)
        assert ours is not None
        funding = SpentInput(sim.channel.funding_outpoint, channel_id, Satoshi(0))
        raw = HexBytes(sim.our_commitment_tx().serialize())
        signed.store(conn, Signed(channel_id, COMMITMENT, ours.txid, raw, [funding], _PRICE))
        [row] = sweep_inputs.of_channel(conn, channel_id)
        effect = msgspec.structs.replace(
            row.wish.effect, deadline=BlockHeight(deadline), budget_sat=Satoshi(20_000)
        )
        wish = Wish(row.wish.channel, effect, row.wish.policy)
        sweep_inputs.want(conn, [(channel_id, wish)])
        return row.outpoint

    return db.run(work)


@pytest.mark.parametrize("later", [1, -1])
def test_l10_a_child_that_is_not_taken_leaves_its_coin_to_others(
    sweeper: Resources, devnet: DevnetProcess, later: int
) -> None:
    """However near its own deadline is; and it is tried again with every block."""
    world = Sweeps(sweeper, devnet, 60_000)
    closed = world.closed("beside", Side.LOCAL, [60_000])
    deadline = STARTED + 10
    anchor = _published(world, "outbid", deadline + later)
    world.rpc("devnet_set_fault", method="submitpackage", calls=100, result=_OUTBID)
    world.round(STARTED, price=1_000)
    htlc = closed.want(1, deadline=deadline, budget_sat=30_000)
    world.round(STARTED + 1, price=1_000)
    assert world.in_mempool(htlc) is not None
    world.coin(70_000)
    world.rpc("devnet_clear_faults")
    world.round(STARTED + 2, price=1_000)
    assert world.in_mempool(anchor) is not None
