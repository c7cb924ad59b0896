"""Webhooks never go to an address inside the network, whatever an URL or a name says."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from datetime import UTC, datetime
from typing import Any

import httpcore2
import pytest

from storage.letters import Letter
from tasks import post
from tasks.destinations import (
    DestinationRefused,
    GuardedNetwork,
    destination,
    is_public,
    resolve,
)
from tasks.post import Address, Answer, Fate, Post

INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused_in_every_spelling(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(DestinationRefused, match="inside the network"):
        destination(f"https://{host}/hooks", allow_private=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1"])
def test_names_and_odd_spellings_are_looked_at_once_they_are_resolved(host: str) -> None:
    with pytest.raises(DestinationRefused, match="inside the network"):
        resolve(host, 443, allow_private=False)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/", "http or https"),
        ("file:///etc/passwd", "http or https"),
        ("gopher://example.com:70/", "http or https"),
        ("https:///nohost", "http or https"),
        ("https://user:secret@example.com/", "no user name"),
        ("https://example.com:22/", "port 22"),
        ("https://example.com:25/", "port 25"),
        ("https://example.com:99999/", "not an URL"),
        ("https://[::1/", "not an URL"),
        ("https://b\u00fccher.example/", "xn--"),
        ("https://example.com/h\u00e4ken", "xn--"),
        ("https://example.com/new hooks", "%XX"),
        ("https://example.com/hooks ", "%XX"),
        ("https://example..com/", "no host name"),
        (f"https://{'a' * 64}.example/", "no host name"),
    ],
)
def test_urls_that_nothing_is_sent_to(url: str, why: str) -> None:
    with pytest.raises(DestinationRefused, match=why) as refused:
        destination(url, allow_private=False)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["https://example.com/x", "http://example.com:8080/"])
def test_urls_of_the_web_are_fine(url: str) -> None:
    assert destination(url, allow_private=False).host == "example.com"


def test_one_address_inside_among_public_ones_refuses_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that points to both is how a guard is tricked: whoever picks, picks wrongly."""
    answers = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(DestinationRefused):
        resolve("both.example", 443, allow_private=False)


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second answer of a rebinding name server is never asked for."""
    asked: list[str] = []

    def rebind(host: str, port: int, *_: object, **__: object) -> list[object]:
        asked.append(host)
        first = "127.0.0.1" if asked.count("rebind.example") == 1 else "10.255.255.1"
        address = first if host == "rebind.example" else host
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(socket, "getaddrinfo", rebind)
        GuardedNetwork(allow_private=True).connect_tcp("rebind.example", port, 5).close()
        server.accept()[0].close()
    # What connects may look up the address that was checked, but never the name again.
    assert asked.count("rebind.example") == 1
    assert set(asked) <= {"rebind.example", "127.0.0.1"}


def test_the_post_refuses_before_any_connection() -> None:
    letter = Letter(1, 1, "channel.closed", {}, 0, 0, datetime.now(UTC), ())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        post = Post(allow_private=False)
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            address = Address("alice", f"http://{host}:{port}/", ("whsec_c2VjcmV0",))
            answer = post.send(letter, address, datetime.now(UTC))
            assert answer.fate is Fate.UNANSWERED
            assert "inside the network" in answer.reason
        post.close()
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("url", ["https://b\u00fccher.example/", "https://example..com/"])
def test_an_url_that_can_never_be_reached_is_an_endpoint_that_does_not_answer(url: str) -> None:
    """A node may be registered with one: its letters wait and its silence alarms."""
    letter = Letter(1, 1, "channel.closed", {}, 0, 0, datetime.now(UTC), ())
    post = Post(allow_private=True)
    answer = post.send(letter, Address("alice", url, ("whsec_c2VjcmV0",)), datetime.now(UTC))
    post.close()
    assert answer.fate is Fate.UNANSWERED


def test_a_name_that_does_not_resolve_is_a_network_error() -> None:
    with pytest.raises(httpcore2.ConnectError, match="does not resolve"):
        GuardedNetwork(allow_private=False).connect_tcp("nowhere.invalid", 443, 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_host_is_named_as_the_url_writes_it(host: str) -> None:
    """An address of IPv6 without its brackets is no host, and servers answer 400."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host.strip("[]"), 0), family=family) as server:
        port = server.getsockname()[1]
        heads: list[bytes] = []
        thread = threading.Thread(target=lambda: heads.append(_take_one(server)))
        thread.start()
        assert _send(f"http://{host}:{port}/hooks").fate is Fate.TAKEN
        thread.join()
    assert f"\r\nhost: {host}:{port}\r\n".encode() in heads[0].lower()


def _send(url: str) -> Answer:
    letter = Letter(1, 1, "channel.closed", {}, 0, 0, datetime.now(UTC), ())
    sender = Post(allow_private=True)
    answer = sender.send(letter, Address("alice", url, ("whsec_c2VjcmV0",)), datetime.now(UTC))
    sender.close()
    return answer


def _take_one(server: socket.socket) -> bytes:
    """Take one webhook; its head."""
    connection, _ = server.accept()
    with connection:
        head = connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    return head


def test_a_letter_takes_no_longer_for_many_addresses_that_say_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As those of a name behind a firewall that drops: eight of them are no eight letters."""
    monkeypatch.setattr(post, "LONGEST_SECONDS", 1.0)
    _leads_to(monkeypatch, *(f"192.0.2.{n}" for n in range(8)))
    began = time.monotonic()
    answer = _send("http://many.example/")
    assert answer.fate is Fate.UNANSWERED
    assert time.monotonic() - began < 2


def test_an_address_that_says_nothing_hides_none_that_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host whose IPv6 leads nowhere is reached by IPv4, for the same letter."""
    monkeypatch.setattr(post, "LONGEST_SECONDS", 2.0)
    _leads_to(monkeypatch, "192.0.2.1", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_take_one, args=(server,))
        thread.start()
        assert _send(f"http://both.example:{server.getsockname()[1]}/").fate is Fate.TAKEN
        thread.join()


def test_a_name_that_is_looked_up_for_too_long_is_an_endpoint_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system's resolver asks every name server again and again, and nothing interrupts it."""
    monkeypatch.setattr(post, "LONGEST_SECONDS", 0.5)
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(20) and [])
    began = time.monotonic()
    answer = _send("http://slow.example/")
    over.set()
    assert answer.fate is Fate.UNANSWERED
    assert "does not resolve" in answer.reason
    assert time.monotonic() - began < 5


def _leads_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Any name but a literal does; of the addresses those for documentation never answer."""
    looked_up, connected = socket.getaddrinfo, httpcore2.SyncBackend.connect_tcp

    def look_up(host: str, port: int, *rest: Any, **named: Any) -> Any:
        if not host.endswith(".example"):
            return looked_up(host, port, *rest, **named)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    def connect(
        self: httpcore2.SyncBackend, host: str, port: int, timeout: float, *rest: Any
    ) -> httpcore2.NetworkStream:
        if host.startswith("192.0.2."):
            time.sleep(timeout)
            raise httpcore2.ConnectTimeout(host)
        return connected(self, host, port, timeout, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", connect)
