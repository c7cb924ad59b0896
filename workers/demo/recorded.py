"""The first act: a channel recorded from LDK, whose blocks begin the demo's chain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workers.replay.feed import CHANNEL_TYPES, fee_wallet_document, key_document, opened, webhooks
from workers.replay.fixture import Fixture
from workers.replay.play import Outcome, account
from workers.simulation.client import NodeAccount
from workers.simulation.court import RunningCourt

#: The recording stands beside the tests, which run all of them.
_FOLDER = Path(__file__).parents[2] / "tests" / "data" / "ldk"
_NAME = "static_2_local_close.json"


@dataclass(slots=True)
class Recorded:
    """The recorded channel on the stage."""

    fixture: Fixture
    node: NodeAccount | None = None

    @property
    def channel_point(self) -> str:
        return self.fixture.channel_point

    @property
    def channel_type(self) -> str:
        return CHANNEL_TYPES[self.fixture.document["channel"]["anchors"]]

    @property
    def kind(self) -> str:
        return self.fixture.close_kind


def load() -> Recorded:
    """The recording. Raises FixtureError when it is not there."""
    return Recorded(Fixture.load(_FOLDER / _NAME))


def begin(court: RunningCourt, recording: Recorded) -> None:
    """Its blocks before the close become the chain, its history becomes webhooks."""
    fixture, client = recording.fixture, court.client
    recording.node = client.add_node("recorded", bytes.fromhex(fixture.sweep_script))
    client.import_keys(key_document(fixture))
    client.import_keys(fee_wallet_document(fixture, recording.node.name))
    for block in fixture.blocks[: fixture.close_height - 1]:
        client.rpc("submitblock", block)
    client.webhook(recording.node, "channel.opened", opened(fixture))
    for event_type, data in webhooks(fixture):
        client.webhook(recording.node, event_type, data)


def close(court: RunningCourt, recording: Recorded) -> None:
    """Our node forces the close, as it did when it was recorded."""
    court.client.force_close(recording.channel_point, "as recorded")


def compare(court: RunningCourt, recording: Recorded) -> str:
    """What is wrong against what LDK did with the same channel; empty when nothing is."""
    outcome = Outcome.of(recording.fixture)
    account(recording.fixture, court.client, outcome)
    if outcome.closing_txid != recording.fixture.closing_txid:
        return f"expected {recording.fixture.closing_txid}"
    if outcome.net_sat < outcome.recorded_net_sat:
        return f"net {outcome.net_sat} sat, LDK got {outcome.recorded_net_sat} sat"
    return ""
