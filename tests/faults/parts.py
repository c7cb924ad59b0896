"""A court whose parts are killed and started one by one, with a proxy before each server.

The programs are those of `contractcourt up`; only the supervisor is ours, because here the test
says who dies when, and who comes back.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from storage.migrate import migrate
from tasks.environment import load_settings
from tasks.settings import Settings
from tests.faults.armed import Arms
from tests.faults.client import StubbornClient
from tests.proxy import Proxy, ProxyLoop
from workers.database_logins import put_logins
from workers.embedded.ports import Ports
from workers.process import Process, Program
from workers.simulation.client import KnownNodes, NodeAccount
from workers.up import endpoints, probes
from workers.up.court import database_logins
from workers.up.part import NotReady, Part
from workers.up.plan import Addresses, Fleet, Stores, Tokens
from workers.up.secrets import keep, seal_key_file

_READY_SECONDS = 120.0
#: Blocks come in seconds here, and so does everything that is measured in time.
HURRIED = {
    "CONTRACTCOURT_POLL_SECONDS": "0.1",
    "CONTRACTCOURT_GRACE_SECONDS": "0",
    "CONTRACTCOURT_LEASE_SECONDS": "3",
    "CONTRACTCOURT_RECONCILE_SECONDS": "2",
    "CONTRACTCOURT_REBROADCAST_SECONDS": "5",
}


@dataclass(slots=True)
class _Standing:
    """A part, and whether it shall run."""

    process: Process
    probe: Callable[[], NotReady | None]
    wanted: bool = True
    #: Killed or stopped by us since its last start.
    ended_by_us: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """How many processes of each kind; by how much the clocks of the beats are wrong."""

    watchers: int = 1
    workers: int = 1
    beats: int = 1
    #: Of each Celery worker.
    children: int = 2
    beat_clock_seconds: float = 0.0
    #: Of a task, and so of a sweep round's claim.
    time_limit_seconds: int = 20

    @property
    def environment(self) -> dict[str, str]:
        """What every process is told of it."""
        return {
            "FAULTS_BEAT_CLOCK": str(self.beat_clock_seconds),
            "CONTRACTCOURT_TASK_TIME_LIMIT_SECONDS": str(self.time_limit_seconds),
            "CONTRACTCOURT_TASK_SOFT_TIME_LIMIT_SECONDS": str(self.time_limit_seconds - 1),
            "CONTRACTCOURT_VISIBILITY_TIMEOUT_SECONDS": str(self.time_limit_seconds * 4),
        }


class PartedCourt:
    """All parts of one court in one folder; `client` is its node, its operator and its miner."""

    def __init__(
        self, folder: Path, size: Size, loop: ProxyLoop, careless: Random | None = None
    ) -> None:
        self.data_dir = folder / "court"
        self.data_dir.mkdir(parents=True)
        self._logs = self.data_dir / "logs"
        self._logs.mkdir()
        self.arms = Arms(folder / "arms")
        self._size = size
        self._loop = loop
        self._ports = Ports()
        self._careless = careless
        self._parts: dict[str, _Standing] = {}
        self._nodes = KnownNodes()
        self.proxies: dict[str, Proxy] = {}
        #: Processes that ended although nobody ended them, by kind.
        self.fallen: Counter[str] = Counter()
        #: Called whenever somebody waits for the court.
        self.meanwhile: Callable[[], None] = lambda: None

    # -- beginning and ending --

    def start(self) -> None:
        """Everything, in order, until all are ready."""
        secrets = keep(self.data_dir)
        tokens = Tokens(
            *(secrets.operator_token, secrets.signer_token),
            *(seal_key_file(self.data_dir), secrets.webhook_key),
        )
        settings = load_settings(
            from_endpoints=False, data_dir=self.data_dir, worker_concurrency=self._size.children
        )
        stores = Stores(self.data_dir, settings, secrets)
        assert stores.postgres is not None
        stores.postgres.prepare()
        ports = {part.name: self._start_part(part) for part in stores.parts()}
        self._wait_ready(*ports)
        real = stores.addresses(ports)
        migrate(real.postgres)
        through = stores.addresses({name: self._proxy(name, port) for name, port in ports.items()})
        logins = database_logins(settings, secrets)
        put_logins(real.postgres, logins)
        databases = {login.role: login.url(through.postgres) for login in logins}
        fleet = Fleet(self.data_dir, settings, through, tokens, databases)
        self._start_fleet(fleet, settings, real, tokens)

    def _start_fleet(
        self, fleet: Fleet, settings: Settings, real: Addresses, tokens: Tokens
    ) -> None:
        signer = self._start_part(fleet.signer())
        fleet_ports = {"signer": signer}
        for part in fleet.workers(self._proxy("signer", signer), 0):
            if part.name != "flower":
                copies = {"watcher": self._size.watchers, "worker": self._size.workers}
                copies["beat"] = self._size.beats
                for number in range(copies.get(part.name, 1)):
                    fleet_ports[part.name] = self._start_part(part, number)
        fleet_ports["flower"] = 0
        self._wait_ready(*self._parts)
        told = endpoints.announce(self.data_dir, settings, real, tokens, fleet_ports)
        self.client = StubbornClient(told, self.revive, self._careless)

    def stop(self) -> None:
        """Ask all to stop, those first that were started last; kill who does not."""
        if hasattr(self, "client"):
            self.client.close()
        for standing in self._parts.values():
            standing.wanted = False
        for name in reversed(self._parts):
            self._parts[name].process.ask_to_stop()
            if name in ("postgres", "redis", "devnet", "signer"):
                self._parts[name].process.finish()
        for standing in self._parts.values():
            standing.process.kill()
        self._ports.close()

    # -- killing and starting --

    def names(self, kind: str) -> list[str]:
        """The parts of a kind: `worker` is `worker`, `worker-1` ..."""
        return [name for name in self._parts if name.partition("-")[0] == kind]

    def kill(self, name: str) -> None:
        """SIGKILL to it and its children; it stays dead until `start_again` or `revive`."""
        self._parts[name].ended_by_us = True
        self._parts[name].process.kill()

    def keep_down(self, name: str) -> None:
        """Kill it, and let nobody start it before `start_again`."""
        self._parts[name].wanted = False
        self.kill(name)

    def ask_to_stop(self, name: str) -> bool:
        """SIGTERM, as a deploy does, and wait for the end; whether it came without SIGKILL."""
        self._parts[name].wanted = False
        self._parts[name].ended_by_us = True
        self._parts[name].process.ask_to_stop()
        return self._parts[name].process.finish()

    def freeze(self, name: str, *, frozen: bool = True) -> None:
        """SIGSTOP, or SIGCONT, to it alone."""
        pid = self._parts[name].process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def start_again(self, name: str) -> None:
        """Start it if it does not run."""
        standing = self._parts[name]
        standing.wanted = True
        if standing.process.exit_code() is not None:
            self.fallen[name.partition("-")[0]] += not standing.ended_by_us
            standing.ended_by_us = False
            standing.process.kill()
            standing.process.start()

    def revive(self) -> None:
        """Start whatever has died and shall run. Only from the main thread."""
        self.meanwhile()
        for name, standing in self._parts.items():
            if standing.wanted:
                self.start_again(name)

    def wait_ready(self, *names: str) -> None:
        """Until these answer again."""
        self._wait_ready(*names)

    def pid(self, name: str) -> int:
        """Its process id."""
        pid = self._parts[name].process.pid
        assert pid is not None
        return pid

    # -- what a story asks of a court --

    def node(self, name: str, sweep_script: bytes, webhook_url: str | None = None) -> NodeAccount:
        """A node with a fee wallet, registered at the first time of asking."""
        return self._nodes.account(self.client, name, sweep_script, webhook_url)

    # -- inside --

    def _proxy(self, name: str, port: int) -> int:
        proxy = Proxy(self._loop, ("127.0.0.1", port), port=self._ports.take())
        self.proxies[name] = proxy
        return proxy.port

    def _start_part(self, part: Part, number: int = 0) -> int:
        port = self._ports.take() if part.listens else 0
        environment = {**self.arms.environment, **self._size.environment}
        program = _named(part.program(port), part.name, number, environment)
        process = Process(program, self._logs)
        ready = Path(program.argv[-1]) if "--ready-file" in program.argv else None
        probe = (lambda: probes.ready_file(ready)) if ready else (lambda: part.probe(port))
        self._parts[program.name] = _Standing(process, probe)
        process.start()
        return port

    def _wait_ready(self, *names: str) -> None:
        give_up_at = time.monotonic() + _READY_SECONDS
        for name in names:
            while not_ready := self._parts[name].probe():
                self.revive()
                words = f"{name}: {not_ready}\n{self._parts[name].process.last_lines()}"
                assert time.monotonic() < give_up_at, words
                time.sleep(0.05)


def _named(program: Program, name: str, number: int, environment: dict[str, str]) -> Program:
    """The same program under a name of its own, watched and in a hurry."""
    argv = program.argv
    full_name = f"{name}-{number}" if number else name
    if "--ready-file" in argv:
        argv = (*argv[:-1], f"{argv[-1]}-{number}")
    if name == "worker":
        argv = (*argv[:-2], "--name", f"{full_name}@%h", *argv[-2:])
    more = {} if name in ("postgres", "redis", "devnet") else {**HURRIED, **environment}
    told = {**program.environment, **more}
    return replace(program, name=full_name, argv=argv, environment=told)


@contextmanager
def parted_court(
    folder: Path, size: Size | None = None, careless: Random | None = None
) -> Iterator[PartedCourt]:
    """A court for the length of a `with`; nothing of it runs afterwards."""
    with ProxyLoop() as loop:
        court = PartedCourt(folder, size or Size(), loop, careless)
        try:
            court.start()
            yield court
        finally:
            court.stop()
