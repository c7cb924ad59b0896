"""Who knocks too often is told when to come again, and keeps nobody else out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage.database import Database
from tests.storage.examples import WEBHOOK_SEAL
from tests.workers.gateway.desk import Desk
from tests.workers.gateway.serving import GatewayClient, channel_of, serving
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.gateway.rates import _MOST_KNOWN, Allowances, Rate, Rates, address_of
from workers.simulation.feed import opened_data


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gateway(db: Database, clock: Clock) -> Iterator[GatewayClient]:
    """Five signed webhooks at once from a node, four refusals for an address."""
    court = Court(
        db=db,
        access=Access(protect_reads=True, viewer_token="a token of a viewer"),
        metrics=metrics_of(db),
        wake=lambda _: None,
        webhook_seal=WEBHOOK_SEAL,
        rates=Rates(Rate(1, 5), Rate(0.5, 4), clock),
    )
    with serving(create_app(court)) as url:
        client = GatewayClient(url, db, [])
        for name in ("alice", "bob"):
            client.add_node(name, channel_of(node=name).sweep_script)
        yield client
        client.http.close()


def statuses(gateway: GatewayClient, node: str, times: int) -> list[int]:
    data = opened_data(channel_of(f"of {node}", node=node).channel)
    return [gateway.send("channel.opened", data, node=node).status_code for _ in range(times)]


def test_a_node_that_sends_too_much_is_told_when_and_holds_up_no_other(
    gateway: GatewayClient, clock: Clock
) -> None:
    assert statuses(gateway, "alice", 7) == [202] * 5 + [429] * 2
    before = gateway.counts()
    refused = gateway.send("channel.opened", opened_data(channel_of("of alice").channel))
    assert refused.json()["type"] == "urn:contractcourt:problem:too-many-requests"
    assert refused.headers["Retry-After"] == "1"
    assert gateway.counts() == before
    assert statuses(gateway, "bob", 1) == [202]
    clock.now += 2
    assert statuses(gateway, "alice", 3) == [202, 202, 429]


def test_nobody_uses_up_the_allowance_of_a_node_but_itself(gateway: GatewayClient) -> None:
    for _ in range(3):
        forged = gateway.send_raw(b"{}", node="alice", secret=gateway.secrets["bob"])
        assert forged.status_code == 401
    assert statuses(gateway, "alice", 5) == [202] * 5


def test_a_stranger_is_turned_away_unread_and_the_nodes_beside_him_are_not(
    gateway: GatewayClient, clock: Clock
) -> None:
    assert statuses(gateway, "alice", 1) == [202]
    knocks = [gateway.http.get(f"/v1/channels?after={n}") for n in range(6)]
    assert [knock.status_code for knock in knocks] == [401] * 4 + [429] * 2
    assert knocks[-1].headers["Retry-After"] == "2"
    assert statuses(gateway, "alice", 1) == [202]  # known from this address
    assert statuses(gateway, "bob", 1) == [429]  # not yet
    clock.now += 2
    assert statuses(gateway, "bob", 1) == [202]
    assert gateway.http.get("/v1/channels").status_code == 401


def test_what_is_allowed_is_never_charged_to_an_address(gateway: GatewayClient) -> None:
    token = {"Authorization": "Bearer a token of a viewer"}
    seen = {gateway.http.get("/v1/channels", headers=token).status_code for _ in range(20)}
    assert seen == {200}


def test_strangers_at_the_same_address_shut_out_nobody_with_a_login(
    gateway: GatewayClient, clock: Clock
) -> None:
    desk = Desk(gateway.url)
    assert desk.sign_in("a token of a viewer").status_code == 200
    knocks = [gateway.http.get(f"/v1/channels?after={n}") for n in range(6)]
    assert knocks[-1].status_code == 429
    desk.open("/alarms")
    assert desk.page.status_code == 200
    # Nor is what they ask in vain charged to their address, which may ask once more by now.
    clock.now += 2
    assert [desk.http.get("/nothing").status_code for _ in range(6)] == [404] * 6
    assert gateway.http.get("/v1/channels").status_code == 401
    for token, status in (("a token of a viewer", 200), ("a token of nobody", 429)):
        headers = {"Authorization": f"Bearer {token}"}
        assert gateway.http.get("/v1/channels", headers=headers).status_code == status
    desk.http.cookies.clear()
    forged = {"Cookie": "contractcourt_session=forged"}
    assert desk.http.get("/alarms", headers=forged).status_code == 429


def test_memory_is_bounded_whatever_names_are_tried(clock: Clock) -> None:
    held = Allowances(Rate(1, 2), clock)
    for number in range(_MOST_KNOWN + 500):
        held.charge(str(number))
    assert len(held) == _MOST_KNOWN
    rates = Rates(Rate(1, 2), Rate(1, 2), clock)
    for number in range(_MOST_KNOWN + 500):
        rates.prove(f"10.0.{number}", f"node{number}")
    assert len(rates._proven) == _MOST_KNOWN


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("2001:db8:1:2::9", "2001:0db8:0001:0002"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_a_whole_network_of_ipv6_is_one_address(host: str, address: str) -> None:
    assert address_of({"client": (host, 1)}) == address
    assert address_of({"client": None}) == ""
