"""The test of the model test: laws with one fault each, and every one is caught by its promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import msgspec
import pytest

from contractcourt.arbitrator import closes, following, offer, stakes
from contractcourt.arbitrator.classification import Classified
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.case import Case, State
from contractcourt.channel import STATIC_REMOTEKEY, Htlc, LocalCommitment
from contractcourt.contract import Contract, ContractKind
from contractcourt.effects import CloseKind, MarkChannelClosed
from contractcourt.events import SpendUnconfirmed
from contractcourt.resolvers import breach, outgoing_htlc
from contractcourt.units import BlockHeight, Blocks, Satoshi, Secret, Txid
from tests.model.walk import LATER, stroll, walk


def _nothing(*_: object, **__: object) -> None:
    return None


def _without_resolutions(
    kind: CloseKind, txid: Txid, height: BlockHeight, _: object
) -> MarkChannelClosed:
    return MarkChannelClosed(kind, txid, height, ())


def _fail(hearing: Hearing, contract: Contract) -> None:
    htlc = contract.htlc
    assert htlc is not None
    hearing.notify(
        "htlc.failed", htlc_id=htlc.id, payment_hash=str(htlc.payment_hash), reason="timed_out"
    )


def _failed_at_its_expiry(
    act: Callable[[Hearing, Contract], bool], hearing: Hearing, contract: Contract
) -> bool:
    asked = act(hearing, contract)
    if asked:
        _fail(hearing, contract)
    return asked


def _what_was_decided(case: Case) -> LocalCommitment | None:
    return stakes.decided_commitment(case) or _the_newest(case)


def _the_newest(case: Case) -> LocalCommitment | None:
    newest = case.local_commitment
    fits = newest is not None and newest.spends == case.channel.funding_outpoint
    return newest if fits else None


def _but_never_again(
    publish: Callable[[Hearing, Case], None], hearing: Hearing, before: Case
) -> None:
    if before.force_close is None:
        publish(hearing, before)


def _but_not_for_htlcs(
    act: Callable[[Hearing, Contract], bool], hearing: Hearing, contract: Contract
) -> bool:
    return contract.kind is ContractKind.REVOKED_HTLC or act(hearing, contract)


def _but_not_a_deep_one(
    hear: Callable[[Hearing, SpendUnconfirmed], None], hearing: Hearing, event: SpendUnconfirmed
) -> None:
    if not hearing.case.closed:
        hear(hearing, event)


def _told_whenever_seen(
    tell: Callable[[Hearing, Htlc, Secret], None], hearing: Hearing, htlc: Htlc, preimage: Secret
) -> None:
    hearing.change(fulfilled_htlcs=())
    tell(hearing, htlc, preimage)


def _ours_after_a_reorg(
    classify: Callable[[Case, Transaction], Classified], case: Case, tx: Transaction
) -> Classified:
    found = classify(case, tx)
    reopened = State.CONTRACT_CLOSED in case.path and not case.closed
    return msgspec.structs.replace(found, kind=CloseKind.LOCAL) if reopened else found


@dataclass(frozen=True)
class Mutant:
    """What stands instead of which function of the law, and how the walk words what it breaks.

    `around` is given the true function first.
    """

    module: ModuleType | type
    function: str
    instead: Callable[..., object]
    breaks: str
    around: bool = False


MUTANTS = {
    "closes before it is deep": Mutant(
        closes, "closing_depth", lambda *_: Blocks(1), "closed before it was deep enough"
    ),
    "closes without its resolutions": Mutant(
        closes, "MarkChannelClosed", _without_resolutions, "closed without all of its resolutions"
    ),
    "resolves at the first confirmation": Mutant(
        following, "depth_of", lambda *_: 100, "resolved at depth|before its timeout was buried"
    ),
    "does not hear of a reorg": Mutant(following, "hear_unspend", _nothing, "is not spent"),
    "ignores a deep reorg": Mutant(
        closes, "hear_funding_unspend", _but_not_a_deep_one, "a reorg took back", around=True
    ),
    "stays closed after a reorg": Mutant(closes, "take_back", _nothing, "closed by"),
    "closes as the wrong kind after a reorg": Mutant(
        closes, "classify", _ours_after_a_reorg, "close is taken for", around=True
    ),
    "publishes what it decided, whatever was told since": Mutant(
        offer, "to_publish", _what_was_decided, "may be revoked"
    ),
    "publishes what lies behind another funding's": Mutant(
        offer, "to_publish", _the_newest, "may be revoked"
    ),
    "publishes what it decided only once": Mutant(
        offer, "publish", _but_never_again, "ends in", around=True
    ),
    "publishes what is stale": Mutant(offer, "we_lost_data", lambda _: False, "known to be stale"),
    "fails what was fulfilled": Mutant(outgoing_htlc, "resolve", _fail, "was failed"),
    "fails upstream before the timeout is buried": Mutant(
        outgoing_htlc, "act", _failed_at_its_expiry, "before its timeout was buried", around=True
    ),
    "skips justice for an HTLC output": Mutant(
        breach, "act", _but_not_for_htlcs, "nothing was asked for|ends in", around=True
    ),
    "tells a preimage twice": Mutant(
        following, "_tell_preimage", _told_whenever_seen, "was told twice", around=True
    ),
    "never tells a preimage": Mutant(following, "_tell_preimage", _nothing, "was not told"),
    "never looks at its contracts": Mutant(following, "progress", _nothing, "ends in"),
    "never asks to be woken": Mutant(Hearing, "wake_at", _nothing, "ends in"),
    "sweeps without a budget": Mutant(
        stakes, "budget_sat", lambda *_: Satoshi(0), "without a budget|ends in"
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_faulty_law_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[name]
    true = getattr(mutant.module, mutant.function)
    instead = partial(mutant.instead, true) if mutant.around else mutant.instead
    monkeypatch.setattr(mutant.module, mutant.function, instead)
    with pytest.raises(AssertionError, match=mutant.breaks):
        _look_for_it()


def _look_for_it() -> None:
    walk(STATIC_REMOTEKEY, 2)
    for seed in range(4):
        stroll(STATIC_REMOTEKEY, seed, 2_000)
    for after in LATER:
        walk(STATIC_REMOTEKEY, 2, after=after)
    walk(STATIC_REMOTEKEY, 3)
