"""Webhooks that are well formed and wrong: the law refuses them at the door (promise P10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contractcourt.channel import Direction
from tests.workers.gateway.refusing import assert_problem, nothing_stored
from tests.workers.gateway.serving import GatewayClient, channel_of, updates_of
from workers.simulation.channel import SimulatedChannel
from workers.simulation.feed import update_data

Spoil = Callable[[SimulatedChannel, dict[str, Any]], None]


def _foreign_signature(sim: SimulatedChannel, step: dict[str, Any]) -> None:
    step["local_commitment"]["remote_signature"] = str(sim.local_commitment(0).remote_signature)


def _no_signature(_sim: SimulatedChannel, step: dict[str, Any]) -> None:
    del step["local_commitment"]["remote_signature"]


def _no_transaction(_sim: SimulatedChannel, step: dict[str, Any]) -> None:
    step["local_commitment"]["tx"] = "00" * 60


def _other_funding(_sim: SimulatedChannel, step: dict[str, Any]) -> None:
    other = channel_of("other").first_update()
    step["local_commitment"] = update_data(other)["local_commitment"]


def _wrong_number(_sim: SimulatedChannel, step: dict[str, Any]) -> None:
    step["local_commitment"]["number"] = 9


def _too_much_money(_sim: SimulatedChannel, step: dict[str, Any]) -> None:
    step["local_commitment"]["to_local_msat"] = 10**12


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_foreign_signature, "invalid-signature"),
        (_no_signature, "invalid-signature"),
        (_no_transaction, "malformed-transaction"),
        (_other_funding, "commitment-mismatch"),
        (_wrong_number, "commitment-mismatch"),
        (_too_much_money, "commitment-mismatch"),
    ],
)
def test_a_local_commitment_that_does_not_fit(
    gateway: GatewayClient, opened: SimulatedChannel, spoil: Spoil, kind: str
) -> None:
    opened.move(10_000_000)
    data = updates_of(opened, opened.accept())
    spoil(opened, data["updates"][0])
    with nothing_stored(gateway, kind):
        answer = gateway.send("channel.updated", data)
    assert_problem(answer, 422, kind)


def test_one_bad_step_refuses_the_whole_message(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    steps = opened.whole_move(10_000_000)
    data = updates_of(opened, *steps)
    data["updates"][1]["revoked_secret"]["secret"] = "11" * 32
    with nothing_stored(gateway, "revocation-secret-mismatch"):
        answer = gateway.send("channel.updated", data)
    assert_problem(answer, 422, "revocation-secret-mismatch", "per_commitment_point")
    assert gateway.update(opened, *steps).status_code == 202


def test_a_commitment_number_that_goes_back(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    gateway.update(opened, *opened.whole_move(10_000_000))
    with nothing_stored(gateway, "commitment-number-regression"):
        answer = gateway.update(opened, opened.first_update())
    assert_problem(answer, 409, "commitment-number-regression", "lies behind")


def test_a_revocation_before_its_successor(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    steps = opened.whole_move(10_000_000)
    with nothing_stored(gateway, "out-of-order"):
        answer = gateway.update(opened, steps[1])
    assert_problem(answer, 409, "out-of-order", "send")
    assert gateway.update(opened, *steps).status_code == 202


def test_a_preimage_that_does_not_fit(gateway: GatewayClient) -> None:
    with nothing_stored(gateway, "invalid-fields"):
        answer = gateway.send(
            "preimage.learned", {"payment_hash": "11" * 32, "preimage": "22" * 32}
        )
    assert_problem(answer, 422, "invalid-fields", "does not hash")


def test_an_htlc_twice_in_one_commitment(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    htlc = opened.htlc(1, Direction.OFFERED, 20_000_000, 700)
    opened.move(0, htlc)
    data = updates_of(opened, opened.propose())
    commitment = data["updates"][0]["remote_pending_commitment"]
    commitment["htlcs"] = [*commitment["htlcs"], *commitment["htlcs"]]
    with nothing_stored(gateway, "invalid-fields"):
        answer = gateway.send("channel.updated", data)
    assert_problem(answer, 422, "invalid-fields", "twice")


@pytest.mark.parametrize("reason", ["a\u0000b", "line\nbreak", "x" * 501])
def test_reasons_that_no_page_should_show(
    gateway: GatewayClient, opened: SimulatedChannel, reason: str
) -> None:
    data = {"channel_point": str(opened.funding_outpoint), "reason": reason}
    with nothing_stored(gateway, "invalid-fields"):
        answer = gateway.send("force_close.requested", data)
    assert_problem(answer, 422, "invalid-fields", "data.reason")
