"""A preimage in the mempool is told at first sight, and again to a Postgres that has lost it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import psycopg
import pytest
from msgspec.structs import replace

from chain.bitcoin_core import BitcoinCore
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.contract import ContractKind
from contractcourt.events import SpendSeen
from storage import contracts
from storage.database import Database
from tests.chain.devnet_money import fund, send
from tests.storage import examples
from tests.workers.watching import Watched, Watcher, spending
from workers.watcher import mempool_look


def _offered_htlc(court: Watched) -> tuple[int, OutPoint]:
    """A channel with a contract whose claim shows a preimage."""
    channel_id, outpoint = court.channel(), fund(court.devnet)
    htlc = replace(examples.contract(1), outpoint=outpoint, kind=ContractKind.OFFERED_HTLC)
    with court.db.transaction() as conn:
        contracts.replace(conn, channel_id, (htlc,))
    return channel_id, outpoint


def _seen(court: Watched, channel_id: int) -> int:
    return sum(isinstance(event, SpendSeen) for event in court.docket(channel_id))


def test_l15_it_is_told_once_however_often_it_is_seen(
    court: Watched, chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mempool_look, "_REMEMBERED_SECONDS", 0.0)
    watcher = Watcher(court.db, chain)
    channel_id, outpoint = _offered_htlc(court)
    send(court.devnet, spending(outpoint))
    watcher.settle()
    watcher.settle()
    assert _seen(court, channel_id) == 1
    assert watcher.woken == [channel_id]


def test_p5_it_is_told_again_when_a_standby_took_over_that_never_heard_of_it(
    court: Watched, chain: BitcoinCore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher lives on; what it remembers of having told is no proof."""
    monkeypatch.setattr(mempool_look, "_REMEMBERED_SECONDS", 0.0)
    watcher = Watcher(court.db, chain)
    channel_id, outpoint = _offered_htlc(court)
    watcher.settle()
    with _failover(court.db, postgres_url):
        send(court.devnet, spending(outpoint))
        _settle(watcher)
        assert _seen(court, channel_id) == 1
    _settle(watcher)
    assert _seen(court, channel_id) == 1


def _settle(watcher: Watcher) -> None:
    """However many sessions were ended."""
    for _ in range(10):
        with suppress(psycopg.OperationalError):
            watcher.settle()
            return


@contextmanager
def _failover(db: Database, postgres_url: str) -> Iterator[None]:
    """What is written inside is lost: afterwards the database is as it was before."""
    name = urlsplit(db.url).path.removeprefix("/")
    end_sessions = f"""
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'
    """
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute(end_sessions)
        conn.execute(f"CREATE DATABASE {name}_standby TEMPLATE {name}")
        yield
        conn.execute(end_sessions)
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
        conn.execute(f"ALTER DATABASE {name}_standby RENAME TO {name}")
