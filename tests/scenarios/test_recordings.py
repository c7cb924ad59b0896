"""Closings recorded from LDK: judged by the law alone, and replayed through whole courts."""

from __future__ import annotations

from pathlib import Path

import pytest

from contractcourt import codec
from contractcourt.advance import advance, open_case
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import points, secrets
from contractcourt.case import Case, State
from contractcourt.channel import Channel
from contractcourt.events import (
    ChannelOpened,
    ChannelUpdate,
    ChannelUpdated,
    HeightReached,
    PreimageLearned,
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


def _told(fixture: Fixture) -> Case:
    """The case after everything that the recorded node told, with our points as the signer has."""
    facts = opened(fixture) | {"node": "recorded", "funding_outpoint": fixture.channel_point}
    case = open_case(ChannelOpened(codec.from_builtins(facts, Channel))).case
    seed = bytes.fromhex(fixture.document["secrets"]["A"]["commitment_seed"])
    for event_type, data in webhooks(fixture):
        if event_type == "preimage.learned":
            case = advance(case, codec.from_builtins(data, PreimageLearned)).case
            continue
        for step in data["updates"]:
            local = step.get("local_commitment")
            if local is not None:
                secret = secrets.generate_from_seed(seed, secrets.secret_index(local["number"]))
                local["txid"] = str(Transaction.parse(bytes.fromhex(local["tx"])).txid())
                local["per_commitment_point"] = str(points.public_key(secret))
        updates = tuple(codec.from_builtins(step, ChannelUpdate) for step in data["updates"])
        case = advance(case, ChannelUpdated(updates)).case
    return case


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_law_recognises_the_close(path: Path) -> None:
    fixture = Fixture.load(path)
    case = _told(fixture)
    closing = Transaction.parse(bytes.fromhex(fixture.document["closing_tx"]["hex"]))
    height = BlockHeight(fixture.close_height)
    seen = SpendConfirmed(
        outpoint=case.channel.funding_outpoint,
        txid=closing.txid(),
        tx=HexBytes(closing.serialize()),
        height=height,
        block_hash=BlockHash(bytes(32)),
        tip_height=height,
    )
    case = advance(case, seen).case
    assert case.funding_spend is not None
    assert case.funding_spend.kind.value == fixture.close_kind
    assert case.state is State.DEFAULT
    case = advance(case, HeightReached(BlockHeight(height + _DEPTH))).case
    if fixture.close_kind == "cooperative":
        assert case.state is State.FULLY_RESOLVED
    else:
        assert case.state is State.WAITING_FULL_RESOLUTION
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
