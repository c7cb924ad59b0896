"""The peer's commitment that is mined is not as the node told it: an output fits nothing told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contractcourt.channel import Direction
from contractcourt.events import ChannelUpdate
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel

_ANOTHER = SimulatedChannel("another").theirs.point(0)


def _closed(channel_type: str, told: dict[str, Any]) -> MemoryCourt:
    """The peer's next commitment, which holds an HTLC of ours, is told with these parts changed."""
    court, sim = begun("told otherwise", channel_type)
    sim.move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 40))
    theirs = msgspec.structs.replace(sim.remote_commitment(), **told)
    court.tell(ChannelUpdate(remote_pending_commitment=theirs), sim.accept())
    court.broadcast(sim.their_commitment_tx())
    court.mine(20)
    assert court.close_kind == "remote_pending"
    return court


@BOTH_TYPES
@pytest.mark.parametrize(
    "told", [{"htlcs": ()}, {"per_commitment_point": _ANOTHER}], ids=["no htlc", "another point"]
)
def test_l14_what_may_stand_on_an_output_that_was_not_told_is_not_failed(
    channel_type: str, told: dict[str, Any]
) -> None:
    court = _closed(channel_type, told)
    assert court.told("htlc.failed") == []
    assert court.alarms() == {"unknown_output"}
    assert court.contract_stages["to_remote"] == "resolved"


@BOTH_TYPES
def test_what_is_as_it_was_told_raises_no_alarm(channel_type: str) -> None:
    assert _closed(channel_type, {}).alarms() == set()
