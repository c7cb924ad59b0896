"""What a webhook costs in exchanges with Postgres: counted, so that it cannot grow unseen."""

from __future__ import annotations

from contractcourt.channel import Direction
from tests.workers.gateway.serving import GatewayClient, updates_of
from workers.simulation.channel import SimulatedChannel


def test_an_update_costs_at_most_16_exchanges(
    gateway: GatewayClient, opened: SimulatedChannel, exchanges: list[str]
) -> None:
    for number in range(3):
        htlc = opened.htlc(number, Direction.OFFERED, 20_000_000, 700)
        steps = opened.whole_move(1_000_000, htlc)
        exchanges.clear()
        assert gateway.update(opened, *steps).status_code == 202
        assert len(exchanges) <= 16, exchanges
    assert exchanges.count("COMMIT") == 2
    assert sum("case_json" in statement for statement in exchanges) == 3, "read, locked, stored"


def test_an_update_that_holds_the_same_htlcs_does_not_index_them_again(
    gateway: GatewayClient, opened: SimulatedChannel, exchanges: list[str]
) -> None:
    htlc = opened.htlc(1, Direction.OFFERED, 20_000_000, 700)
    indexed = []
    for _ in range(3):
        steps = opened.whole_move(1_000_000, htlc)
        exchanges.clear()
        assert gateway.update(opened, *steps).status_code == 202
        indexed.append(sum("INTO channel_htlcs" in statement for statement in exchanges))
    assert indexed == [1, 0, 0]


def test_a_repeated_update_costs_one_look(
    gateway: GatewayClient, opened: SimulatedChannel, exchanges: list[str]
) -> None:
    data = updates_of(opened, *opened.whole_move(1_000_000))
    assert gateway.send("channel.updated", data, message_id="again").json()["duplicate"] is False
    exchanges.clear()
    assert gateway.send("channel.updated", data, message_id="again").json()["duplicate"] is True
    assert len(exchanges) == 3, exchanges
