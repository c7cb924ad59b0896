"""The door of the mempool: reads what was sent, asks `policy`, lets in and throws out."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from chain.devnet import locks, mining, policy
from chain.devnet.chainstate import ChainState
from chain.devnet.coins import Coin
from chain.devnet.kernel import first_bad_input
from chain.devnet.mempool import Entry, Mempool, wtxid_of
from chain.devnet.policy import Refusal, RefusalKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.units import Txid

_ANY_SCRIPT = b"\x51"
_SCRIPT_ERROR = re.compile(r"script-verify-flag-failed \((.*)\)")


@dataclass(frozen=True, slots=True)
class Admitted:
    """It is in the mempool now; `replaced` left for it."""

    entry: Entry
    replaced: tuple[Entry, ...] = ()


class Admission:
    """Decides for one chain and one mempool. `floor` is the mempool's own, satoshi per kvB."""

    def __init__(self, chain: ChainState, mempool: Mempool) -> None:
        self._chain = chain
        self._mempool = mempool
        self.floor = policy.RELAY_FLOOR

    def accept(self, tx: Transaction, *, limits: bool = True) -> Admitted | Refusal:
        """Let one transaction in. Without `limits` (after a reorg) no fee is asked for."""
        entry = self.examine(tx)
        if isinstance(entry, Refusal):
            return entry
        refusal = self.check_fees([entry]) if limits else self._check_unrivalled(entry)
        refusal = refusal or self.check_scripts(entry)
        return refusal or Admitted(entry, self._let_in([entry]))

    def accept_package(self, txs: Sequence[Transaction]) -> dict[Txid, Admitted | Refusal]:
        """Parents and their child: one by one, then those too cheap alone at their common rate."""
        outcomes: dict[Txid, Admitted | Refusal] = {}
        waiting: list[Transaction] = []
        for tx in txs:
            outcome = self.accept(tx)
            outcomes[tx.txid()] = outcome
            if isinstance(outcome, Refusal) and (
                outcome.kind is RefusalKind.TOO_CHEAP or (waiting and tx is txs[-1])
            ):
                waiting.append(tx)
        if len(waiting) > 1:
            outcomes |= self._accept_together(waiting)
        return outcomes

    def test(self, txs: Sequence[Transaction]) -> list[Entry | Refusal]:
        """What `accept` would say to each, the ones before it being let in; changes nothing."""
        answers: list[Entry | Refusal] = []
        beside: list[Entry] = []
        for tx in txs:
            entry = self.examine(tx, beside)
            if isinstance(entry, Refusal):
                answers.append(entry)
                break
            refusal = self.check_fees([entry]) or self.check_scripts(entry, beside)
            answers.append(refusal or entry)
            if refusal:
                break
            beside.append(entry)
        return answers

    def examine(self, tx: Transaction, beside: Sequence[Entry] = ()) -> Entry | Refusal:
        """Everything that needs no comparison of fees and no script: form, locks, inputs, sums.

        Args:
            beside: transactions treated as if they were in the mempool.
        """
        txid = tx.txid()
        refusal = policy.check_form(tx)
        if refusal is None and not locks.is_final(tx, self._chain):
            refusal = Refusal("non-final")
        refusal = refusal or self._check_known(tx, txid)
        if refusal:
            return refusal
        coins = self._coins(tx, beside)
        if coins is None:
            return self._missing_inputs(tx)
        if not locks.relative_locks_passed(tx, coins, self._chain):
            return Refusal("non-BIP68-final")
        height = self._chain.tip.height
        refusal = policy.check_amounts(tx, coins, height + 1)
        if refusal:
            return refusal
        fee = sum(coin.value for coin in coins) - sum(output.value for output in tx.outputs)
        raw = tx.serialize()
        return Entry(tx, raw, txid, wtxid_of(raw), fee, tx.weight(), int(time.time()), height)

    def check_fees(self, entries: Sequence[Entry]) -> Refusal | None:
        """Floors and replacement, for one transaction or for a package as a whole."""
        fee, vsize = sum(item.fee for item in entries), sum(item.vsize for item in entries)
        dust = (policy.check_dust(item.tx, item.fee) for item in entries)
        return (
            policy.check_floor(fee, vsize, self.floor)
            or next((refusal for refusal in dust if refusal), None)
            or policy.check_replacement(self._mempool, entries)
        )

    def check_scripts(self, entry: Entry, beside: Sequence[Entry] = ()) -> Refusal | None:
        """Every input's script, by the kernel."""
        coins = self._coins(entry.tx, beside) or []
        bad = first_bad_input(entry.raw, [(coin.value, coin.script) for coin in coins])
        if bad is None:
            return None
        return policy.script_refusal(entry, bad, self._why(entry, beside))

    def is_in_utxo_set(self, tx: Transaction) -> bool:
        """Some output of this transaction is unspent on the chain: it is confirmed."""
        txid = tx.txid()
        outpoints = (OutPoint.of(txid, vout) for vout in range(len(tx.outputs)))
        return any(self._chain.coins.get(item) is not None for item in outpoints)

    def _accept_together(self, txs: Sequence[Transaction]) -> dict[Txid, Admitted | Refusal]:
        """All or none, at the common feerate."""
        entries: list[Entry] = []
        refusal: Refusal | None = None
        for tx in txs:
            entry = self.examine(tx, entries)
            if isinstance(entry, Refusal):
                return {tx.txid(): entry for tx in txs}
            refusal = refusal or self.check_scripts(entry, entries)
            entries.append(entry)
        refusal = refusal or self.check_fees(entries)
        if refusal:
            return {entry.txid: refusal for entry in entries}
        replaced = self._let_in(entries)
        outcomes: dict[Txid, Admitted | Refusal] = {}
        for entry in entries:
            outcomes[entry.txid] = Admitted(entry, replaced)
            replaced = ()  # said once, of the first
        return outcomes

    def _check_unrivalled(self, entry: Entry) -> Refusal | None:
        rivals = policy.conflicts_of(self._mempool, [entry])
        return Refusal("txn-mempool-conflict") if rivals else None

    def _why(self, entry: Entry, beside: Sequence[Entry]) -> str:
        """Which script error it is. The kernel says so of blocks only: show it one."""
        needed = {item.txid for item in self._mempool.ancestors(entry)}
        txs = [item.tx for item in self._mempool if item.txid in needed]
        txs += [item.tx for item in beside] + [entry.tx]
        trial = mining.build(mining.template_on(self._chain, self._chain.tip, _ANY_SCRIPT, txs))
        said = _SCRIPT_ERROR.search(self._chain.reason_against(trial) or "")
        return said.group(1) if said else "unknown error"

    def _check_known(self, tx: Transaction, txid: Txid) -> Refusal | None:
        held = self._mempool.get(txid)
        if held is None:
            return None
        same = held.raw == tx.serialize()
        reason = "txn-already-in-mempool" if same else "txn-same-nonwitness-data-in-mempool"
        return Refusal(reason, kind=RefusalKind.ALREADY_KNOWN)

    def _missing_inputs(self, tx: Transaction) -> Refusal:
        if self.is_in_utxo_set(tx):
            return Refusal("txn-already-known", kind=RefusalKind.ALREADY_KNOWN)
        return Refusal("bad-txns-inputs-missingorspent", kind=RefusalKind.MISSING_INPUTS)

    def _coins(self, tx: Transaction, beside: Sequence[Entry]) -> list[Coin] | None:
        """What the inputs spend; None when one of them is nowhere, or spent by `beside`."""
        next_height = self._chain.tip.height + 1
        apart = Mempool()
        for entry in beside:
            apart.add(entry)
        coins: list[Coin] = []
        for item in tx.inputs:
            rival = apart.spender(item.outpoint)
            coin = (
                apart.coin(item.outpoint, next_height)
                or self._mempool.coin(item.outpoint, next_height)
                or self._chain.coins.get(item.outpoint)
            )
            if coin is None or (rival is not None and rival.tx is not tx):
                return None
            coins.append(coin)
        return coins

    def _let_in(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        replaced: list[Entry] = []
        for rival in policy.conflicts_of(self._mempool, entries):
            if rival.txid in self._mempool:
                replaced += self._mempool.evict(rival)
        for entry in entries:
            self._mempool.add(entry)
        return tuple(replaced)
