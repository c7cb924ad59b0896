"""Open pages: told what moved and nothing else, by one look for all of them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from queue import Queue
from typing import Any

import httpx2
import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import State
from storage import alarms, sight
from storage.sight import Seen, Sight
from tests.workers.gateway.serving import GatewayClient, channel_of
from tests.workers.gateway.test_gateway_reads import channel_id, close_cooperatively
from workers.gateway.desk.stream import Attention, Stream
from workers.gateway.problems import Problem
from workers.simulation.channel import SimulatedChannel

_PATIENCE = 60.0
_ENDS = count()


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: str
    kind: str
    data: dict[str, Any]


@contextmanager
def listening(gateway: GatewayClient, query: str, last: str = "") -> Iterator[Queue[Event]]:
    """The events of one stream, as they come."""
    events: Queue[Event] = Queue()
    headers = {"last-event-id": last} if last else {}
    client = httpx2.Client(base_url=gateway.url, timeout=_PATIENCE)
    opened = threading.Event()

    def read() -> None:
        with client.stream("GET", f"/stream?{query}", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                opened.set()
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "data" in fields:
                    events.put(Event(fields["id"], fields["event"], json.loads(fields["data"])))
                    fields = {}
                else:
                    fields = {}
                if done.is_set():
                    return

    done = threading.Event()
    thread = threading.Thread(target=read)
    thread.start()
    assert opened.wait(_PATIENCE)
    try:
        yield events
    finally:
        done.set()
        with gateway.db.transaction() as conn:  # one more event, so that the reader looks up
            alarms.raise_alarm(conn, None, AlarmKind.BREACH, f"the end of stream {next(_ENDS)}")
        thread.join(_PATIENCE)
        assert not thread.is_alive()
        client.close()


def mark_of(page: str) -> str:
    """What a page says that it shows."""
    return page.partition("seen=")[2].partition('"')[0]


def test_a_page_is_told_what_moved_since_it_was_drawn(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    path = f"/channels/{opened.funding_outpoint}"
    mark = mark_of(gateway.http.get(path).text)
    with gateway.db.transaction() as conn:
        ours = channel_id(conn, opened)
    with listening(gateway, f"channels={ours}&seen={mark}") as events:
        close_cooperatively(gateway, opened)
        told = events.get(timeout=_PATIENCE)
        assert (told.kind, told.id == mark) == ("changed", False)
        assert told.data["channels"] == [
            {"id": ours, "channel_point": str(opened.funding_outpoint), "state": "FULLY_RESOLVED"}
        ]
        assert mark_of(gateway.http.get(path).text) == told.id
        assert events.empty()
    # Coming back with the last event's mark: nothing has moved but what ended the stream.
    last = mark_of(gateway.http.get(path).text)
    with listening(gateway, f"channels={ours}&seen={mark}", last) as events:
        assert events.empty()


def test_another_channel_is_no_news(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    other = channel_of("another")
    gateway.open(other)
    mark = mark_of(gateway.http.get(f"/channels/{opened.funding_outpoint}").text)
    with gateway.db.transaction() as conn:
        ours = channel_id(conn, opened)
    with listening(gateway, f"channels={ours}&seen={mark}") as events:
        close_cooperatively(gateway, other)
        with gateway.db.transaction() as conn:
            alarms.raise_alarm(conn, None, AlarmKind.BREACH, "look")
        told = events.get(timeout=_PATIENCE)
        assert (told.data["channels"], told.data["alarms"]) == ([], True)


def test_the_board_hears_of_channels_that_come_before_the_court(gateway: GatewayClient) -> None:
    mark = mark_of(gateway.http.get("/").text)
    other = channel_of("another")
    gateway.open(other)
    gateway.update(other, other.first_update())
    with gateway.db.transaction() as conn:
        theirs = channel_id(conn, other)
        before = Attention(frozenset(), in_court=True).mark(sight.look(conn, ()))
        conn.execute("UPDATE channels SET state = 'BROADCAST_COMMIT' WHERE id = %s", (theirs,))
        after = Attention(frozenset(), in_court=True).mark(sight.look(conn, ()))
    assert mark
    assert before != after


def test_a_stream_that_asks_for_too_much_is_refused(gateway: GatewayClient) -> None:
    for channels in ("x", "-1", "1;2", "9" * 30, ",".join(map(str, range(1, 200)))):
        answer = gateway.http.get("/stream", params={"channels": channels})
        assert answer.status_code == 422, channels


def test_what_is_looked_at_grows_with_what_is_shown(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    for number in range(3):
        gateway.open(channel_of(f"desk {number}"))
    with gateway.db.transaction() as conn:
        assert sight.look(conn, ()).cases == {}
        ours = channel_id(conn, opened)
        assert set(sight.look(conn, [ours]).cases) == {ours}


# -- one look for all --


class Court:
    """Counts how often it is looked at, and by how many at once."""

    def __init__(self) -> None:
        self.looks: list[set[int]] = []
        self.version = 1
        self.away = False

    def look(self, channel_ids: Collection[int]) -> Sight:
        self.looks.append(set(channel_ids))
        if self.away:
            raise ConnectionError("the database is away")
        seen = Seen(OutPoint(bytes(36)), State.DEFAULT, self.version, False)
        return Sight(800, 1, "", "", dict.fromkeys(channel_ids, seen))


def on(*channels: int) -> Attention:
    return Attention(frozenset(channels), in_court=False)


async def first_sights(stream: Stream, *attentions: Attention) -> list[Sight]:
    async def first(attention: Attention) -> Sight:
        async for sight_of_it in stream.sights(attention):
            if sight_of_it is not None:
                return sight_of_it
        raise AssertionError("the stream ended")

    return await asyncio.gather(*map(first, attentions))


def test_many_pages_cost_one_look() -> None:
    court = Court()

    async def story() -> None:
        stream = Stream(court.look, seconds=0.01)
        sights = await first_sights(stream, *(on(number % 7) for number in range(200)))
        assert len(sights) == 200
        assert stream.listeners <= 200

    asyncio.run(story())
    assert len(court.looks) < 10
    assert court.looks[0] <= set(range(7))


def test_nobody_looks_while_nobody_listens() -> None:
    court = Court()

    async def story() -> None:
        stream = Stream(court.look, seconds=0.01)
        await first_sights(stream, on(1))
        while stream.listeners:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        looked = len(court.looks)
        await asyncio.sleep(0.1)
        assert len(court.looks) == looked
        # And whoever comes later is looked for again.
        await first_sights(stream, on(2))

    asyncio.run(story())


def test_a_database_that_is_away_ends_no_stream() -> None:
    court = Court()
    court.away = True

    async def story() -> None:
        stream = Stream(court.look, seconds=0.01)
        waiting = asyncio.create_task(first_sights(stream, on(1)))
        while len(court.looks) < 3:
            await asyncio.sleep(0.01)
        court.away = False
        assert (await waiting)[0].height == 800

    asyncio.run(story())


def test_the_number_of_listeners_is_bounded_and_a_close_ends_them() -> None:
    court = Court()

    async def story() -> None:
        stream = Stream(court.look, seconds=0.01, most=2)
        endless = [asyncio.create_task(drain(stream)) for _ in range(2)]
        while stream.listeners < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(Problem) as refused:
            stream.admit()
        assert refused.value.status_code == 503
        stream.close()
        await asyncio.wait_for(asyncio.gather(*endless), _PATIENCE)
        assert stream.listeners == 0

    async def drain(stream: Stream) -> None:
        async for _ in stream.sights(on(1)):
            pass

    asyncio.run(story())


def test_a_mark_tells_two_sights_apart_and_is_the_same_for_every_gateway() -> None:
    court = Court()
    first, again = court.look([1, 2]), court.look([1, 2])
    court.version = 2
    moved = court.look([1, 2])
    assert on(1).mark(first) == on(1).mark(again)
    assert on(1).mark(first) != on(1).mark(moved)
    assert on(1).mark(first) != on(1, 2).mark(first)


def test_the_stream_wants_a_reader(gateway: GatewayClient) -> None:
    with httpx2.Client(base_url=gateway.url) as http:
        assert http.get("/stream?channels=nonsense").status_code == 422
