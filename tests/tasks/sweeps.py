"""Rounds of the sweeper over HTLCs that lie on the chain: real Postgres, devnet and signer.

Heights and prices are given to each round, so that a test is in the block that it is about.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from chain.devnet.process import DevnetProcess
from contractcourt.arbitrator.classification import Classified
from contractcourt.arbitrator.contracts import build_contracts, recognised
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import STATIC_REMOTEKEY, Direction, Side
from contractcourt.contract import Contract
from contractcourt.effects import CloseKind, SweepOutput
from contractcourt.policy import Policy
from contractcourt.units import BlockHash, BlockHeight, HexBytes, Satoshi
from storage import alarms, blocks, broadcasts, fee_coins, nodes, spends, sweep_inputs
from storage.broadcasts import Broadcast
from storage.database import Connection
from storage.fee_coins import NewCoin, Parent
from storage.seal import create_seal_key
from storage.sweep_inputs import StoredSweep, Wish
from tasks import resources
from tasks.resources import Resources
from tasks.sweeper.round import SweepRound
from tests.conftest import free_port
from tests.contractcourt.sweeping.wanted import market
from tests.tasks.opened import open_funded
from tests.workers.test_signer_process import TOKEN, RunningSigner
from workers.simulation import fee_wallet
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

#: Where every fee curve begins.
STARTED = BlockHeight(100)
NODE = "alice"
_USUAL = Policy()
_SOME_BLOCK = BlockHash(b"\x01" * 32)


@contextmanager
def worker_beside_a_signer(
    database_url: str,
    redis_url: str,
    devnet: DevnetProcess,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Resources]:
    """What a worker holds; the signer is a process of its own."""
    port = free_port()
    create_seal_key(folder / "seal.key")
    env = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BITCOIND_URL": devnet.url,
        "CONTRACTCOURT_NETWORK": "regtest",
        "CONTRACTCOURT_DATA_DIR": str(folder),
        "CONTRACTCOURT_SIGNER_URL": f"http://127.0.0.1:{port}",
        "CONTRACTCOURT_SIGNER_PORT": str(port),
        "CONTRACTCOURT_SIGNER_TOKEN": TOKEN,
        "CONTRACTCOURT_SEAL_KEY_FILE": str(folder / "seal.key"),
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    signer = RunningSigner(env, f"http://127.0.0.1:{port}", folder / "signer.log")
    signer.start()
    try:
        yield resources.resources()
    finally:
        resources.close()
        signer.stop(signal.SIGKILL)


class Sweeps:
    """One node, its fee wallet, and closed channels of it whose HTLCs are to be swept."""

    def __init__(self, held: Resources, devnet: DevnetProcess, *coins_sat: int) -> None:
        self.held = held
        self.rpc = devnet.rpc
        held.db.run(lambda conn: blocks.init_cursor(conn, STARTED, BlockHash(bytes(32))))
        held.db.run(lambda conn: nodes.add_node(conn, NODE, [SimulatedChannel("").sweep_script]))
        document = {"node": NODE, "fee_wallet": fee_wallet.descriptor(NODE)}
        held.signer.import_keys(json.dumps(document).encode())
        self.coins = [self.coin(value) for value in coins_sat]

    def mine(self, *transactions: Transaction) -> None:
        """A block of these alone."""
        self.rpc("devnet_mine", 1, [tx.serialize().hex() for tx in transactions])

    def coin(self, value_sat: int, *, proved: bool = True) -> OutPoint:
        """Another coin for the fee wallet; whether the watcher saw what made it."""
        script = fee_wallet.scripts(NODE)[0]
        coin = OutPoint.parse(self.rpc("devnet_fund", script.hex(), value_sat))
        new = NewCoin(coin, script, Satoshi(value_sat), STARTED, _SOME_BLOCK)
        made = self._transaction(str(coin.txid))
        parent = Parent(made.txid(), HexBytes(made.serialize(with_witness=False)))

        def add(conn: Connection) -> None:
            fee_coins.add(conn, [new])
            if proved:
                fee_coins.add_parents(conn, [parent])

        self.held.db.run(add)
        self.mine(made)
        return coin

    def closed(self, name: str, owner: Side, values_sat: Sequence[int]) -> Closed:
        """A channel whose commitment, of this side, holds expired HTLCs that we offered.

        The peer's are of the old type, whose HTLC transactions pay 10,000 sat/kw by themselves.
        """
        told = {} if owner is Side.LOCAL else {"channel_type": STATIC_REMOTEKEY}
        sim = SimulatedChannel(name, node=NODE, feerate_per_kw=10_000, **told)  # type: ignore[arg-type]
        paid = self.rpc("devnet_fund", sim.funding_script_pubkey.hex(), sim.capacity_sat)
        channel_id = open_funded(self.held.db, sim.funded(OutPoint.parse(paid)))
        self.held.signer.import_keys(json.dumps(sim.key_document()).encode())
        htlcs = [
            sim.htlc(number, Direction.OFFERED, value * 1000, STARTED)
            for number, value in enumerate(values_sat, 1)
        ]
        sim.move(0, *htlcs)
        ours = owner is Side.LOCAL
        tx = sim.our_commitment_tx() if ours else sim.their_commitment_tx()
        self.rpc("devnet_mine", 1)
        self.mine(tx)
        closed = Closed(self, sim, channel_id, owner, tx)
        closed.spent_by(tx, sim.channel.funding_outpoint)
        return closed

    def round(self, height: int, price: int, *, floor: int = 253, urgent: bool = True) -> None:
        """One lane's round of this block, when each target costs `price`."""
        position = self.held.db.run(_position)
        told = market(floor=floor, price=price)
        one = SweepRound(self.held, NODE, BlockHeight(height), told, urgent=urgent)
        one.run(since=None, position=position)

    def in_mempool(self, outpoint: OutPoint) -> Transaction | None:
        """What spends it there."""
        for txid in self.rpc("getrawmempool"):
            tx = self._transaction(txid)
            if outpoint in {spent.outpoint for spent in tx.inputs}:
                return tx
        return None

    def _transaction(self, txid: str) -> Transaction:
        return Transaction.parse(bytes.fromhex(self.rpc("getrawtransaction", txid)))

    def feerate(self, outpoint: OutPoint) -> int:
        """Satoshi for 1000 weight units of what spends it in the mempool; 0 of nothing."""
        tx = self.in_mempool(outpoint)
        if tx is None:
            return 0
        entry = self.rpc("getmempoolentry", tx.txid().hex())
        return round(float(entry["fees"]["base"]) * 1e8) * 250 // int(entry["vsize"])

    def out(self) -> list[Broadcast]:
        """What is open."""
        return self.held.db.run(lambda conn: broadcasts.to_tend(conn, NODE, urgent=True))

    def alarms(self) -> dict[str, str]:
        """The messages of those raised, by kind."""
        return {alarm.kind: alarm.message for alarm in self.held.db.run(alarms.list_open)}

    def clear_alarms(self) -> None:
        """As the operator does."""

        def clear(conn: Connection) -> None:
            alarms.clear(conn, [alarm.id for alarm in alarms.list_open(conn)])

        self.held.db.run(clear)


class Closed:
    """A commitment in a block, and what is wanted of it."""

    def __init__(
        self, sweeps: Sweeps, sim: SimulatedChannel, channel_id: int, owner: Side, tx: Transaction
    ) -> None:
        self._sweeps = sweeps
        self.sim = sim
        self.channel_id = channel_id
        self._owner = owner
        self._tx = tx

    def _contract(self, htlc_id: int) -> Contract:
        sim, number = self.sim, self.sim.number
        if self._owner is Side.LOCAL:
            told = sim.local_commitment(number)
            kind, point, htlcs = CloseKind.LOCAL, sim.ours.point(number), told.htlcs
        else:
            kind, point = CloseKind.REMOTE, sim.theirs.point(number)
            htlcs = sim.history[number].htlcs
        found = Classified(kind, self._owner, number, point, htlcs)
        outputs = recognised(sim.channel, found, self._tx)
        contracts = build_contracts(sim.channel, found, self._tx, STARTED, outputs)
        return next(one for one in contracts if one.htlc is not None and one.htlc.id == htlc_id)

    def want(
        self, htlc_id: int, *, deadline: int | None, budget_sat: int, policy: Policy = _USUAL
    ) -> OutPoint:
        """Have it swept by then, if ever, for no more than this; the output."""
        contract = self._contract(htlc_id)
        effect = SweepOutput(
            contract,
            self.sim.sweep_script,
            deadline=None if deadline is None else BlockHeight(deadline),
            budget_sat=Satoshi(budget_sat),
        )
        wish = Wish(self.sim.channel, effect, policy)
        self._sweeps.held.db.run(lambda conn: sweep_inputs.want(conn, [(self.channel_id, wish)]))
        return contract.outpoint

    def claimed_by_the_peer(self, htlc_id: int) -> None:
        """Its HTLC transaction, in the mempool."""
        sim = self.sim
        tx = Peer(sim).second_level(sim.number, htlc_id, sim.preimage(htlc_id))
        self._sweeps.rpc("sendrawtransaction", tx.serialize().hex())

    def mined_by_the_peer(self, htlc_id: int) -> Transaction:
        """What it takes by the preimage, in a block: from our commitment, or its own."""
        sim = self.sim
        spend = Peer(sim).claim if self._owner is Side.LOCAL else Peer(sim).second_level
        tx = spend(sim.number, htlc_id, sim.preimage(htlc_id))
        self._sweeps.mine(tx)
        return tx

    def spent_by(self, tx: Transaction, outpoint: OutPoint) -> None:
        """What the watcher stores of a block with this transaction."""
        raw, height = tx.serialize(), BlockHeight(STARTED + 1)
        self._sweeps.held.db.run(
            lambda conn: spends.record(
                conn, self.channel_id, outpoint, tx.txid(), raw, height, _SOME_BLOCK
            )
        )

    def row(self, outpoint: OutPoint) -> StoredSweep:
        """What is stored of this output."""
        channel_id = self.channel_id
        rows = self._sweeps.held.db.run(lambda conn: sweep_inputs.of_channel(conn, channel_id))
        return next(row for row in rows if row.outpoint == outpoint)


def _position(conn: Connection) -> int:
    (position,) = conn.execute(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    ).fetchall()[0]
    return int(position)
