"""The test of the model test: laws with one fault each, and every one is caught."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contractcourt.arbitrator import closes, following, stakes
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.channel import STATIC_REMOTEKEY
from contractcourt.contract import Contract
from contractcourt.effects import CloseKind, MarkChannelClosed
from contractcourt.resolvers import outgoing_htlc
from contractcourt.units import BlockHeight, Blocks, Satoshi, Txid
from tests.model.walk import stroll, walk


def _without_resolutions(
    kind: CloseKind, txid: Txid, height: BlockHeight, _: object
) -> MarkChannelClosed:
    return MarkChannelClosed(kind, txid, height, ())


def _always_failed(hearing: Hearing, contract: Contract) -> None:
    htlc = contract.htlc
    assert htlc is not None
    hearing.notify("htlc.failed", htlc_id=htlc.id, payment_hash=str(htlc.payment_hash))


def _nothing(*_: object) -> None:
    return None


#: What is wrong with the law, where, and instead of what it stands.
MUTANTS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "closes before it is deep": (closes, "closing_depth", lambda *_: Blocks(1)),
    "closes without its resolutions": (closes, "MarkChannelClosed", _without_resolutions),
    "resolves at the first confirmation": (following, "depth_of", lambda *_: 100),
    "does not hear of a reorg": (following, "hear_unspend", _nothing),
    "stays closed after a reorg": (closes, "take_back", _nothing),
    "fails what was fulfilled": (outgoing_htlc, "resolve", _always_failed),
    "never looks at its contracts": (following, "progress", _nothing),
    "sweeps without a budget": (stakes, "budget_sat", lambda *_: Satoshi(0)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_faulty_law_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, instead = MUTANTS[name]
    monkeypatch.setattr(module, function, instead)
    with pytest.raises(AssertionError):
        _look_for_it()


def _look_for_it() -> None:
    walk(STATIC_REMOTEKEY, 3)
    for seed in range(4):
        stroll(STATIC_REMOTEKEY, seed, 2_000)
