"""`channel.updated` through the real gateway, each answered after its durable commit.

Floors of the same run: a bare durable commit of one row, and the law alone on the same updates
(nearly all of it is curve work). Then what many updates leave behind in Postgres, and whether a
channel with many states costs more than one with few (users_ask L18).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from itertools import chain, islice

import psycopg
from coincurve import PrivateKey, PublicKey

from bench import ground, traffic
from bench.fleet import Meter, running, wait_until
from bench.quiet import quiet
from bench.timing import median_seconds, percentile
from bench.traffic import SignedWebhook
from contractcourt.advance import advance
from contractcourt.events import ChannelUpdate, ChannelUpdated
from storage import cases, docket
from storage.database import Database
from storage.docket import NewEntry
from tasks import arbitration
from workers.embedded.ports import Ports
from workers.up import probes

FULL = {"webhooks": 4_000, "states": 1_000_000, "htlcs": 2}

_CHANNELS = 40
_CLIENTS = 8
#: States told in one webhook when a node catches up.
_TOLD_AT_ONCE = 100
SIZES = """
    SELECT p.relname, sum(pg_total_relation_size(c.oid))::bigint
    FROM pg_class AS c
    LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
    JOIN pg_class AS p ON p.oid = coalesce(i.inhparent, c.oid)
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    GROUP BY p.relname
"""


def run(webhooks: int = 1_200, states: int = 6_000, htlcs: int = 2) -> dict[str, object]:
    """Rates, floors, and bytes for each state.

    Args:
        webhooks: sent through the gateway, one move of a channel each.
        states: moves that are told in bulk afterwards, by the same path behind the door.
        htlcs: in every commitment.
    """
    with ground.postgres() as url, ground.redis_server() as redis, quiet():
        with ground.database(url) as db:
            through = _through_the_gateway(db, redis, webhooks, htlcs)
        with ground.database(url) as db:
            left = _growth(db, states, htlcs)
    return {"gateway": through, "growth": left}


# -- through the gateway --


def _through_the_gateway(db: Database, redis: str, webhooks: int, htlcs: int) -> dict[str, object]:
    sims = traffic.channels(_CHANNELS)
    secret, ids = traffic.open_all(db, sims)
    each = webhooks // _CHANNELS
    told = [list(islice(traffic.moves(sim, htlcs), each)) for sim in sims]
    law_ms = _law_alone(db, ids[0], [ChannelUpdated(steps) for steps in told[0]]) * 1000
    sent = [
        [traffic.signed(traffic.body(sim, steps), secret) for steps in moves]
        for sim, moves in zip(sims, told, strict=True)
    ]
    port = Ports().take()
    key = {"CONTRACTCOURT_WEBHOOK_KEY": traffic.WEBHOOK_KEY}
    command = ("gateway", "--port", str(port))
    with running(*command, postgres=db.url, redis=redis, **key) as gateway:
        wait_until(lambda: probes.http(f"http://127.0.0.1:{port}/healthz") is None)
        meter = Meter(gateway.pid)
        took, waits = _send_all(port, sent)
        gateway_cpu = meter.seconds()
    bare = _bare_commits(db.url, webhooks)
    rate = each * _CHANNELS / took
    return {
        "webhooks": each * _CHANNELS,
        "htlcs_in_each": htlcs,
        "bytes_of_a_webhook": len(sent[0][0].body),
        "a_second": round(rate, 1),
        "bare_commits_a_second": round(bare, 1),
        "share_of_bare_commits": round(rate / bare, 3),
        "median_wait_ms": round(percentile(waits, 0.5) * 1000, 1),
        "p99_wait_ms": round(percentile(waits, 0.99) * 1000, 1),
        "gateway_cpu_ms_each": round(gateway_cpu / (each * _CHANNELS) * 1000, 2),
        "law_alone_cpu_ms_each": round(law_ms, 2),
        "one_signature_check_ms": round(_signature_check() * 1000, 4),
        "gateway_cpu_over_law": round(gateway_cpu / (each * _CHANNELS) * 1000 / law_ms, 2),
    }


def _law_alone(db: Database, channel_id: int, events: list[ChannelUpdated]) -> float:
    """Processor seconds of the law for one update, in memory."""
    with db.transaction() as conn:
        stored = cases.read(conn, channel_id)
    assert stored is not None
    case = stored.case
    began = time.process_time()
    for event in events:
        case = advance(case, event).case
    return (time.process_time() - began) / len(events)


def _signature_check() -> float:
    key, message = PrivateKey(b"\x01" * 32), b"\x02" * 32
    signature = key.sign(message, hasher=None)
    public = PublicKey.from_secret(b"\x01" * 32)
    return (
        median_seconds(
            lambda: [public.verify(signature, message, hasher=None) for _ in range(100)], 9
        )
        / 100
    )


def _send_all(port: int, sent: list[list[SignedWebhook]]) -> tuple[float, list[float]]:
    """All webhooks by some clients, each channel's in order; seconds in all, and of each."""
    waits: list[float] = []
    refused: list[int] = []

    def client(number: int) -> None:
        began = time.perf_counter()
        for status in traffic.post(port, chain.from_iterable(sent[number::_CLIENTS])):
            waits.append(time.perf_counter() - began)
            began = time.perf_counter()
            if status != http.client.ACCEPTED:
                refused.append(status)

    took = _at_once(client)
    if refused:
        raise RuntimeError(f"{len(refused)} webhooks were refused: {sorted(set(refused))}")
    return took, waits


def _at_once(client: Callable[[int], None]) -> float:
    threads = [threading.Thread(target=client, args=(number,)) for number in range(_CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def _bare_commits(url: str, count: int) -> float:
    """Durable commits of one small row a second, by as many sessions as there are clients."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE bare (n bigint, words text)")
    each = count // _CLIENTS

    def session(number: int) -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            for n in range(each):
                conn.execute("INSERT INTO bare VALUES (%s, %s)", (number * each + n, "x" * 100))

    took = _at_once(session)
    return each * _CLIENTS / took


# -- what is left behind --


def _growth(db: Database, states: int, htlcs: int) -> dict[str, object]:
    """Bytes of each table for each state, and what a state costs early and late."""
    sims = traffic.channels(max(1, min(_CHANNELS, states // 1_000)))
    _, ids = traffic.open_all(db, sims)
    before = _sizes(db)
    each = states // len(sims)
    costs: list[float] = []
    for sim, channel_id in zip(sims, ids, strict=True):
        source = traffic.moves(sim, htlcs)
        for first in range(0, each, _TOLD_AT_ONCE):
            moves = list(islice(source, min(_TOLD_AT_ONCE, each - first)))
            began = time.process_time()
            _tell(db, channel_id, first, moves)
            costs.append((time.process_time() - began) / len(moves))
    after = _sizes(db)
    told = each * len(sims)
    grown = {name: round((size - before.get(name, 0)) / told, 1) for name, size in after.items()}
    kept = grown.get("revoked_states", 0.0)
    a_channel = each // _TOLD_AT_ONCE
    early = [c for at, c in enumerate(costs) if at % a_channel < max(1, a_channel // 4)]
    late = [c for at, c in enumerate(costs) if at % a_channel >= a_channel - max(1, a_channel // 4)]
    return {
        "states": told,
        "states_of_a_channel": each,
        "htlcs_in_each": htlcs,
        "bytes_a_state": {name: size for name, size in sorted(grown.items()) if size >= 0.1},
        "kept_for_punishment": kept,
        "allowed_for_punishment": 256 + 64 * htlcs,
        "a_case": round(after["cases"] / len(sims)),
        "cpu_of_a_late_state_over_an_early_one": round(
            percentile(late, 0.5) / percentile(early, 0.5), 2
        ),
        "first_look_ms": round(_first_look(db, ids[0]), 1),
    }


def _tell(
    db: Database, channel_id: int, first: int, moves: list[tuple[ChannelUpdate, ...]]
) -> None:
    """As webhooks do, but many moves in one commit."""
    with db.transaction() as conn:
        docket.append_many(
            conn,
            [
                NewEntry(channel_id, ChannelUpdated(steps), f"node:busy:{first + n}", "node")
                for n, steps in enumerate(moves)
            ],
        )
        while arbitration.apply_pending(conn, [channel_id]).applied:
            pass


def _first_look(db: Database, channel_id: int) -> float:
    """Milliseconds until a fresh session has locked, read and applied nothing of one channel."""
    with psycopg.connect(db.url):
        pass
    began = time.perf_counter()
    arbitration.arbitrate(db, [channel_id])
    return (time.perf_counter() - began) * 1000


def _sizes(db: Database) -> dict[str, int]:
    with psycopg.connect(db.url, autocommit=True) as conn:
        conn.execute("VACUUM (ANALYZE)")
        return {name: int(size) for name, size in conn.execute(SIZES)}
