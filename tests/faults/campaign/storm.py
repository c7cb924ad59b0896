"""What goes wrong, one thing at a time, in an order that the seed decides."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import psutil
import psycopg
import redis

from tests.faults.parts import PartedCourt

_NODE_ERROR = {"code": -1, "message": "a fault on order"}
#: Asked by the court alone, so that no answer of these misleads the story itself.
_ASKED_BY_THE_COURT = (
    "getblockchaininfo",
    "gettxout",
    "testmempoolaccept",
    "submitpackage",
    "estimatesmartfee",
    "getmempoolinfo",
    "gettxspendingprevout",
)
_NONSENSE: tuple[Any, ...] = ("nonsense", 17, None, [], {}, [{}], {"chain": 5, "blocks": "many"})
_SLOW_SECONDS = 0.4
_LASTS_SECONDS = 4.0


class Storm:
    """The faults of one campaign. What lasts ends with the next gust, `heal`, or some seconds."""

    def __init__(self, court: PartedCourt, random: Random) -> None:
        self._court = court
        self._random = random
        self._ending: list[Callable[[], None]] = []
        self._ends_at = 0.0
        court.meanwhile = self._pass_time
        self.injected: Counter[str] = Counter()
        self._kinds: dict[str, Callable[[], None]] = {
            "worker killed": lambda: self._kill("worker"),
            "worker's child killed": self._kill_child,
            "urgent worker killed": lambda: self._kill("urgent"),
            "watcher killed": lambda: self._kill("watcher"),
            "watcher frozen": self._freeze_watcher,
            "gateway killed": lambda: self._kill("gateway"),
            "signer killed": lambda: self._kill("signer"),
            "signer cut off": lambda: self._cut("signer"),
            "beat killed": lambda: self._kill("beat"),
            "Redis flushed": self._flush_redis,
            "Redis killed": lambda: self._kill("redis"),
            "Redis cut off": lambda: self._cut("redis"),
            "Redis frozen": lambda: self._freeze("redis"),
            "Postgres restarted": self._restart_postgres,
            "Postgres killed": lambda: self._kill("postgres"),
            "Postgres' sessions ended": self._end_sessions,
            "Postgres cut off": lambda: self._cut("postgres"),
            "Postgres frozen": lambda: self._freeze("postgres"),
            "node slow": lambda: self._node_fault(40, delay_seconds=_SLOW_SECONDS),
            "node drops calls": self._node_drops,
            "node answers errors": lambda: self._node_fault(5, error=_NODE_ERROR),
            "node overloaded": lambda: self._node_fault(5, http_status=503),
            "node answers nonsense": self._node_nonsense,
            "node's answers garbled": self._garble_node,
            "node cut off": lambda: self._cut("devnet"),
        }

    def gust(self) -> None:
        """One fault more; what lasted until now ends."""
        self._end_what_lasts()
        kind = self._random.choice(list(self._kinds))
        self._kinds[kind]()
        self._ends_at = time.monotonic() + _LASTS_SECONDS
        self.injected[kind] += 1

    def heal(self) -> None:
        """Everything runs and answers again."""
        self._end_what_lasts()
        self._court.revive()
        self._court.wait_ready("postgres", "redis", "devnet")
        self._court.client.rpc("devnet_clear_faults")

    def _pass_time(self) -> None:
        """Nobody who waits for an answer waits for the next gust."""
        if time.monotonic() > self._ends_at:
            self._end_what_lasts()

    def _end_what_lasts(self) -> None:
        ending, self._ending = self._ending, []
        for end in ending:
            end()

    # -- processes --

    def _kill(self, kind: str) -> None:
        """Half of the dead come back at once, the others with the next gust."""
        name = self._random.choice(self._court.names(kind))
        if self._random.random() < 0.5:
            self._court.kill(name)
            return
        self._court.keep_down(name)
        self._ending.append(lambda: self._court.start_again(name))

    def _kill_child(self) -> None:
        name = self._random.choice(self._court.names("worker"))
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._court.pid(name)).children()
            if children:
                self._random.choice(children).send_signal(signal.SIGKILL)

    def _freeze_watcher(self) -> None:
        name = self._random.choice(self._court.names("watcher"))
        self._court.freeze(name)
        self._ending.append(lambda: self._court.freeze(name, frozen=False))

    # -- connections --

    def _cut(self, name: str) -> None:
        self._court.proxies[name].cut()

    def _freeze(self, name: str) -> None:
        proxy = self._court.proxies[name]
        proxy.freeze()
        self._ending.append(proxy.thaw)

    # -- stores --

    def _flush_redis(self) -> None:
        with (
            suppress(redis.RedisError),
            redis.Redis.from_url(self._court.client.endpoints["redis"]) as broker,
        ):
            broker.flushall()

    def _restart_postgres(self) -> None:
        self._court.ask_to_stop("postgres")
        self._court.start_again("postgres")

    def _end_sessions(self) -> None:
        with (
            suppress(psycopg.Error),
            psycopg.connect(self._court.client.endpoints["postgres"], autocommit=True) as conn,
        ):
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND application_name LIKE 'contractcourt-%'"
            )

    # -- the node --

    def _node_fault(self, calls: int, **fault: Any) -> None:
        self._court.client.rpc_named("devnet_set_fault", method="*", calls=calls, **fault)

    def _node_drops(self) -> None:
        self._node_fault(8, drop=self._random.choice(("before", "after")))

    def _node_nonsense(self) -> None:
        for method in _ASKED_BY_THE_COURT:
            answer = self._random.choice(_NONSENSE)
            self._court.client.rpc_named("devnet_set_fault", method=method, calls=2, result=answer)

    def _garble_node(self) -> None:
        self._court.proxies["devnet"].garble(4)
