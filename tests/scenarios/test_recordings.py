"""Closings recorded from LDK: judged by the law alone, and replayed through whole courts."""

from __future__ import annotations

from pathlib import Path

import pytest

from contractcourt import codec
from contractcourt.advance import advance, open_case
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import points, secrets
from contractcourt.case import Case, State
from contractcourt.channel import Channel, Htlc
from contractcourt.effects import RecallRevokedState, RememberRevokedState
from contractcourt.events import (
    ChannelOpened,
    ChannelUpdate,
    ChannelUpdated,
    Event,
    HeightReached,
    PreimageLearned,
    RevokedStateRecalled,
    SpendConfirmed,
)
from contractcourt.units import BlockHash, BlockHeight, HexBytes
from workers.replay.feed import opened, webhooks
from workers.replay.fixture import Fixture
from workers.replay.report import replay

_FOLDER = Path(__file__).parents[1] / "data" / "ldk"
PATHS = sorted(_FOLDER.glob("*.json"))
#: Wide enough for every channel here.
_DEPTH = 6


class _Law:
    """One case before the law, which remembers revoked states for it as the storage does."""

    def __init__(self, opening: ChannelOpened) -> None:
        self.case: Case = open_case(opening).case
        self._revoked: dict[int, tuple[Htlc, ...]] = {}

    def hear(self, event: Event) -> None:
        verdict = advance(self.case, event)
        self.case = verdict.case
        for effect in verdict.effects:
            if isinstance(effect, RememberRevokedState):
                self._revoked[effect.number] = effect.htlcs
            elif isinstance(effect, RecallRevokedState):
                htlcs = self._revoked.get(effect.number, ())
                self.hear(RevokedStateRecalled(effect.number, htlcs))


def _told(fixture: Fixture) -> _Law:
    """Everything that the recorded node told is before the law, with our points."""
    facts = opened(fixture) | {"node": "recorded", "funding_outpoint": fixture.channel_point}
    law = _Law(ChannelOpened(codec.from_builtins(facts, Channel)))
    seed = bytes.fromhex(fixture.document["secrets"]["A"]["commitment_seed"])
    for event_type, data in webhooks(fixture):
        if event_type == "preimage.learned":
            law.hear(codec.from_builtins(data, PreimageLearned))
            continue
        for step in data["updates"]:
            local = step.get("local_commitment")
            if local is not None:
                secret = secrets.generate_from_seed(seed, secrets.secret_index(local["number"]))
                local["txid"] = str(Transaction.parse(bytes.fromhex(local["tx"])).txid())
                local["per_commitment_point"] = str(points.public_key(secret))
        updates = tuple(codec.from_builtins(step, ChannelUpdate) for step in data["updates"])
        law.hear(ChannelUpdated(updates))
    return law


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_law_recognises_the_close(path: Path) -> None:
    fixture = Fixture.load(path)
    law = _told(fixture)
    closing = Transaction.parse(bytes.fromhex(fixture.document["closing_tx"]["hex"]))
    height = BlockHeight(fixture.close_height)
    seen = SpendConfirmed(
        outpoint=law.case.channel.funding_outpoint,
        txid=closing.txid(),
        tx=HexBytes(closing.serialize()),
        height=height,
        block_hash=BlockHash(bytes(32)),
        tip_height=height,
    )
    law.hear(seen)
    assert law.case.funding_spend is not None
    assert law.case.funding_spend.kind.value == fixture.close_kind
    breach = fixture.close_kind == "breach"
    assert law.case.state is (State.WAITING_FULL_RESOLUTION if breach else State.DEFAULT)
    law.hear(HeightReached(BlockHeight(height + _DEPTH)))
    cooperative = fixture.close_kind == "cooperative"
    end = State.FULLY_RESOLVED if cooperative else State.WAITING_FULL_RESOLUTION
    case = law.case
    assert case.state is end
    ours = {c.outpoint.vout: c.value_sat for c in case.contracts}
    for verdict in fixture.document["result"]["verdict"]:
        anchor_or_wallet = "anchor" in verdict["role"] or "coop" in verdict["role"]
        if verdict["winner"] == "A" and not anchor_or_wallet:
            assert ours[verdict["index"]] == verdict["value_sat"]


@pytest.mark.e2e
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_whole_court_replays_it(path: Path) -> None:
    outcome = replay(path)
    assert outcome.problem == ""
