"""The court on the whole stack: `contractcourt up` with real Postgres, Redis, Celery and chain."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import FundingPubkeys
from contractcourt.events import ChannelUpdate
from contractcourt.units import Secret, Txid
from workers.simulation.channel import SimulatedChannel
from workers.simulation.court import RunningCourt
from workers.simulation.feed import opened_data, pubkeys_data, update_data

_REFUSAL = {"code": -26, "message": "scriptsig-not-pushonly"}


class StackCourt:
    """One channel before a running court; other channels may stand before it at the same time."""

    def __init__(self, running: RunningCourt) -> None:
        self._running = running

    @property
    def _client(self) -> Any:
        return self._running.client

    # -- what a story does --

    def begin(self, sim: SimulatedChannel) -> None:
        outpoint = self._client.rpc(
            "devnet_fund", sim.funding_script_pubkey.hex(), sim.capacity_sat
        )
        self._client.mine(1)
        self.open(sim.funded(OutPoint.parse(outpoint)))

    def open(self, sim: SimulatedChannel) -> None:
        """Open a channel whose funding outpoint is known, on the chain or not."""
        self._node = self._running.node(sim.node, sim.sweep_script)
        self._point = str(sim.channel.channel_point)
        self._client.import_keys(sim.key_document())
        self._client.webhook(self._node, "channel.opened", opened_data(sim.channel))
        self.tell(sim.first_update())

    def tell(self, *updates: ChannelUpdate) -> None:
        steps = [update_data(update) for update in updates]
        self._send("channel.updated", updates=steps)

    def tell_splice(self, splice: Transaction, pubkeys: FundingPubkeys | None = None) -> None:
        keys = {} if pubkeys is None else pubkeys_data(pubkeys)
        self._send(
            "channel.funding_replaced",
            funding_outpoint=f"{splice.txid()}:0",
            funding_txid_candidates=[str(splice.txid())],
            capacity_sat=splice.outputs[0].value,
            **keys,
        )

    def import_splice_key(self, spliced: SimulatedChannel) -> None:
        self._client.import_keys(spliced.splice_key_document(OutPoint.parse(self._point)))

    def tell_splice_txid(self, splice: Transaction) -> None:
        self._send("channel.funding_replaced", funding_txid_candidates=[str(splice.txid())])

    def tell_preimage(self, preimage: Secret) -> None:
        data = {"payment_hash": hashlib.sha256(preimage).hexdigest(), "preimage": str(preimage)}
        self._client.webhook(self._node, "preimage.learned", data)
        self._client.wait_quiet()

    def force_close(self) -> Txid | None:
        answer = self._client.force_close(self._point, "a story")
        self._client.wait_quiet()
        txid = answer["closing_txid"]
        return Txid.parse(txid) if txid else None

    def broadcast(self, tx: Transaction) -> None:
        self._client.rpc("sendrawtransaction", tx.serialize().hex())

    def mine(self, count: int = 1) -> None:
        for _ in range(count):
            self._client.mine(1)
            self._client.wait_quiet()

    def reorg(self, depth: int, transactions: Iterable[Transaction] = ()) -> None:
        raw = [tx.serialize().hex() for tx in transactions]
        if depth:
            self._client.rpc("devnet_reorg", depth, depth + 1, False, raw)
        else:
            self._client.mine(1, raw)
        self._client.wait_quiet()

    def refuse_publishing(self, refuse: bool) -> None:
        calls = 1_000_000 if refuse else 0
        self._client.rpc("devnet_set_fault", "sendrawtransaction", calls, _REFUSAL)

    def restart(self) -> None:
        self._running.kill_everything_and_start_again()
        self._client.wait_quiet()

    # -- what a story asks --

    def in_mempool(self, txid: Txid) -> bool:
        return str(txid) in self._client.rpc("getrawmempool")

    @property
    def _case(self) -> dict[str, Any]:
        case: dict[str, Any] = self._client.channel(self._point)
        return case

    @property
    def height(self) -> int:
        return int(self._client.height())

    @property
    def state(self) -> str:
        return str(self._case["state"])

    @property
    def close_kind(self) -> str | None:
        kind = self._case["close_kind"]
        return None if kind is None else str(kind)

    @property
    def contract_stages(self) -> dict[str, str]:
        return {c["kind"]: c["stage"] for c in self._case["contracts"]}

    @property
    def published_commitments(self) -> int:
        return sum(1 for b in self._case["broadcasts"] if b["purpose"] == "commitment")

    @property
    def closed_in_database(self) -> bool:
        return self._case["closing_txid"] is not None

    def told(self, event_type: str) -> list[dict[str, object]]:
        return list(self._client.notifications(self._point, event_type))

    def alarms(self) -> set[str]:
        return {alarm["kind"] for alarm in self._case["alarms"]}

    def _send(self, event_type: str, **data: Any) -> None:
        self._client.webhook(self._node, event_type, {"channel_point": self._point, **data})
        self._client.wait_quiet()
