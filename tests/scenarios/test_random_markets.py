"""Random HTLCs, closes, preimages, claims, fee markets and reorgs on the devnet, before one court.

Seeded, so that a failure can be played again. What must hold at the end, whatever happened, stands
in the assertions below.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.commitment import to_local_script
from contractcourt.bolt3.keys import commitment_keys
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction, Htlc, Side
from storage import sweep_inputs
from tests.scenarios.many_channels import ManyChannels
from workers.simulation import fee_wallet
from workers.simulation.channel import SimulatedChannel
from workers.simulation.client import Refused
from workers.simulation.court import RunningCourt
from workers.simulation.peer import NoSuchContract, Peer

_CHANNELS = 8
_BLOCKS = 45
#: Satoshi for 1000 virtual bytes.
_FLOORS = (100, 1_000, 3_000, 8_000)


class Campaign:
    """One node's channels, and chance."""

    def __init__(self, court: RunningCourt, seed: int) -> None:
        self.chance = Random(seed)
        self.node = f"random-{seed}"
        types = (ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY)
        sims = [
            SimulatedChannel(f"{self.node} {n}", types[n % 2], node=self.node, feerate_per_kw=1_000)
            for n in range(_CHANNELS)
        ]
        self.many = ManyChannels(court, sims)
        self.client = court.client
        self.many.open()
        self.htlcs = {sim.seed: self._hold(sim) for sim in sims}
        self.closing = {sim.seed: self.chance.randrange(1, 20) for sim in sims}

    def _hold(self, sim: SimulatedChannel) -> list[Htlc]:
        height = self.client.height()
        held = [
            sim.htlc(
                number,
                self.chance.choice(list(Direction)),
                self.chance.randrange(200_000, 60_000_000),
                height + self.chance.randrange(15, 60),
            )
            for number in range(1, self.chance.randrange(1, 5))
        ]
        self.many.tell(sim, *sim.whole_move(0, *held))
        if self.chance.random() < 0.3:
            self.many.tell(sim, *sim.whole_move(1_000_000, *held))
        return held

    def block(self, number: int) -> None:
        """What happens in one block."""
        for sim in self.many.sims:
            if self.closing[sim.seed] == number:
                self._close(sim)
            for htlc in self.htlcs[sim.seed]:
                self._maybe_settle(sim, htlc)
        if self.chance.random() < 0.2:
            self.client.rpc("devnet_set_mempool_floor", self.chance.choice(_FLOORS))
        self.many.mine()
        if self.chance.random() < 0.08:
            self.client.rpc("devnet_reorg", self.chance.randrange(1, 4))
            self.client.wait_quiet(60)

    def _close(self, sim: SimulatedChannel) -> None:
        how = self.chance.choice(["ours", "theirs", "revoked"])
        if how == "ours":
            self.client.force_close(str(sim.channel.channel_point), "by chance")
        elif how == "theirs" or sim.number == 0:
            self._send(sim.their_commitment_tx())
        else:
            self._send(sim.their_commitment_tx(sim.number - 1))

    def _maybe_settle(self, sim: SimulatedChannel, htlc: Htlc) -> None:
        if self.chance.random() > 0.05:
            return
        preimage = sim.preimage(htlc.id)
        if htlc.direction is Direction.RECEIVED:
            told = {"payment_hash": str(htlc.payment_hash), "preimage": str(preimage)}
            self.client.webhook(self.many.account, "preimage.learned", told)
            return
        for number in range(sim.number + 1):
            with suppress(NoSuchContract):
                self._send(Peer(sim).claim(number, htlc.id, preimage))
            with suppress(NoSuchContract):
                self._send(Peer(sim).second_level(number, htlc.id, preimage))

    def _send(self, tx: Transaction) -> None:
        """Refused when something else came first, or when fees are too high for it."""
        with suppress(Refused):
            self.client.rpc("sendrawtransaction", tx.serialize().hex())

    def to_the_end(self) -> None:
        """Fees fall, delays pass, and whoever has not closed by then closes."""
        self.client.rpc("devnet_set_mempool_floor", None)
        for _ in range(120):
            self.client.wait_quiet(60)
            states = {self.many.state(sim) for sim in self.many.sims}
            if states == {"FULLY_RESOLVED"}:
                return
            for sim in self.many.sims:
                if self.many.state(sim) == "DEFAULT":
                    self.client.force_close(str(sim.channel.channel_point), "at last")
            self.client.mine(1 if self.client.rpc("getrawmempool") else 4)
        raise AssertionError({sim.seed: self.many.state(sim) for sim in self.many.sims})


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_closes_in_random_markets(court: RunningCourt, seed: int) -> None:
    campaign = Campaign(court, seed)
    try:
        for number in range(_BLOCKS):
            campaign.block(number)
        campaign.to_the_end()
    finally:
        court.client.rpc("devnet_set_mempool_floor", None)
    for sim in campaign.many.sims:
        _assert_account_adds_up(campaign, sim)
        _assert_every_satoshi_went_where_it_may(campaign, sim)
        _assert_nothing_is_left(campaign, sim)
        _assert_nothing_was_failed_that_was_claimed(campaign, sim)


def _assert_account_adds_up(campaign: Campaign, sim: SimulatedChannel) -> None:
    told = campaign.client.account(str(sim.channel.channel_point))
    parts = ("won_sat", "lost_sat", "given_up_sat", "open_sat", "agreed_sat", "closing_fee_sat")
    assert sum(told[part] for part in parts) == told["capacity_sat"]
    assert told["final"]
    assert told["open_sat"] == 0
    # No sweep cost more than it won.
    for line in told["lines"]:
        assert line["fee_sat"] <= line["value_sat"] or line["kind"] == "anchor"


def _assert_every_satoshi_went_where_it_may(campaign: Campaign, sim: SimulatedChannel) -> None:
    """To the sweep script, back to the fee wallet, or on to our own second level."""
    allowed = {bytes(sim.sweep_script), *map(bytes, fee_wallet.scripts(campaign.node))}
    for other in campaign.many.sims:
        for number in range(other.number + 1):
            keys = commitment_keys(other.channel, Side.LOCAL, other.ours.point(number))
            allowed.add(bytes(p2wsh(to_local_script(other.channel, keys))))
    case = campaign.client.channel(str(sim.channel.channel_point))
    for sent in case["broadcasts"]:
        assert sent["last_outcome"] != "invalid"
        if sent["purpose"] != "commitment":
            tx = Transaction.parse(bytes.fromhex(sent["tx"]))
            assert {output.script_pubkey for output in tx.outputs} <= allowed


def _assert_nothing_is_left(campaign: Campaign, sim: SimulatedChannel) -> None:
    """Nothing that we could have won was given up, but for anchors and dust."""
    case = campaign.client.channel(str(sim.channel.channel_point))
    for contract in case["contracts"]:
        if contract["spend_txid"] is None:
            assert contract["kind"] in ("anchor", "received_htlc"), contract
    assert all(one.state is not sweep_inputs.SweepState.WANTED for one in campaign.many.sweeps(sim))


def _assert_nothing_was_failed_that_was_claimed(campaign: Campaign, sim: SimulatedChannel) -> None:
    point = str(sim.channel.channel_point)
    failed = {told["htlc_id"] for told in campaign.client.notifications(point, "htlc.failed")}
    fulfilled = {told["htlc_id"] for told in campaign.client.notifications(point, "htlc.fulfilled")}
    assert not failed & fulfilled
