"""What a tired person reads of a contract."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from contractcourt.channel import Direction, Htlc
from contractcourt.contract import Contract, ContractKind, ContractStage, Spend
from contractcourt.effects import SweepOutput
from contractcourt.policy import Policy
from contractcourt.units import (
    BlockHeight,
    FeeratePerKw,
    Millisatoshi,
    PaymentHash,
)
from storage.sweep_inputs import StoredSweep, SweepState, Wish
from tests.storage import examples
from workers.gateway.waiting import words

HEIGHT = BlockHeight(200)
SPEND = Spend(examples.txid(7), BlockHeight(198), examples.block_hash(1))
BASE = examples.contract(5)


def htlc(direction: Direction) -> Htlc:
    amount, expiry = Millisatoshi(1_000), BlockHeight(212)
    return Htlc(1, direction, amount, PaymentHash(bytes(32)), expiry)


OFFERED = replace(BASE, kind=ContractKind.OFFERED_HTLC, htlc=htlc(Direction.OFFERED))
RECEIVED = replace(BASE, kind=ContractKind.RECEIVED_HTLC, htlc=htlc(Direction.RECEIVED))


def stage(contract: Contract, at: ContractStage, **changes: object) -> Contract:
    return replace(contract, stage=at, **changes)


@pytest.mark.parametrize(
    ("contract", "told"),
    [
        (BASE, "waits for its delay; swept from height 244 (44 blocks left)"),
        (
            OFFERED,
            "we take it back from height 212 (12 blocks left), unless the peer has its preimage",
        ),
        (
            RECEIVED,
            "waits for its preimage; the peer takes it back from height 212 (12 blocks left)",
        ),
        (
            stage(BASE, ContractStage.SPENT, spend=SPEND, ours=True),
            "spent by us at 198; final from height 203 (3 blocks left)",
        ),
        (
            stage(BASE, ContractStage.RESOLVED, spend=SPEND, ours=False),
            "done: spent by the peer at 198",
        ),
        (stage(BASE, ContractStage.RESOLVED), "given up"),
        (
            stage(RECEIVED, ContractStage.RESOLVED),
            "the peer's, for its preimage never came",
        ),
        (stage(BASE, ContractStage.UNRESOLVED), "no rule explains it: see the alarms"),
        (stage(BASE, ContractStage.SWEEPING), "its transaction is published until it is mined"),
    ],
)
def test_what_a_contract_waits_for(contract: Contract, told: str) -> None:
    assert words(contract, None, Policy(), HEIGHT) == told


def sweep(
    state: SweepState = SweepState.WANTED,
    *,
    feerate: int = 0,
    reason: str | None = None,
    deadline: int | None = None,
) -> StoredSweep:
    height = None if deadline is None else BlockHeight(deadline)
    want = SweepOutput(BASE, examples.SWEEP_SCRIPT, deadline=height)
    return StoredSweep(
        outpoint=BASE.outpoint,
        channel_id=1,
        wish=Wish(examples.channel(1), want, Policy()),
        state=state,
        feerate_per_kw=FeeratePerKw(feerate),
        started_height=BlockHeight(190),
        alone=False,
        reason=reason,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (sweep(), "to be swept"),
        (sweep(feerate=250), "its sweep offers 1 sat/vB"),
        (
            sweep(feerate=1_062, deadline=201),
            "its sweep offers 4.25 sat/vB; to be mined by height 201 (1 block left)",
        ),
        (
            sweep(reason="its budget is 5 sat short", deadline=200),
            "to be swept: its budget is 5 sat short; to be mined by height 200 (past)",
        ),
        (
            sweep(SweepState.QUARANTINED, reason="wrong key"),
            f"set aside: wrong key (contractcourt sweep release {BASE.outpoint})",
        ),
    ],
)
def test_what_the_sweeper_makes_of_it(held: StoredSweep, told: str) -> None:
    assert words(stage(BASE, ContractStage.SWEEPING), held, Policy(), HEIGHT) == told
