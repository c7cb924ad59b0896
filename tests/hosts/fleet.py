"""A court whose parts run on several hosts, before one Postgres, one Redis and one Bitcoin node."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conftest import free_port
from tests.hosts.host import Host
from workers.process import Process, Program
from workers.simulation.client import CourtClient, KnownNodes, NodeAccount
from workers.up import probes
from workers.up.secrets import seal_key_file

_CLI = (sys.executable, "-m", "workers.cli")
_QUEUES = "urgent,urgent_sweeps,arbitrate,publish,notify,reconcile"
_TOKENS = {
    "operator_token": "operator-of-the-hosts",
    "signer_token": "signer-of-the-hosts",
    "webhook_key": "the webhook key of all of the hosts",
}
#: Simulated blocks come in seconds; the lease, and with it the take-over, stays as it is.
_HURRIED = {
    "CONTRACTCOURT_POLL_SECONDS": "0.1",
    "CONTRACTCOURT_GRACE_SECONDS": "0",
    "CONTRACTCOURT_RECONCILE_SECONDS": "1",
    "CONTRACTCOURT_REBROADCAST_SECONDS": "5",
    "CONTRACTCOURT_ALLOW_PRIVATE_WEBHOOKS": "true",
}
_START_SECONDS = 120.0


class Fleet:
    """Signer, gateway and beat stand beside the stores; watchers and workers on their hosts.

    A `StackCourt` takes it for a running court: it has a client and knows its nodes.
    """

    client: CourtClient

    def __init__(self, folder: Path, *, postgres: str, redis: str, bitcoind: str) -> None:
        self.logs = folder
        self._stack = ExitStack()
        self._urls = {"DATABASE_URL": postgres, "REDIS_URL": redis, "BITCOIND_URL": bitcoind}
        self._signer = f"http://127.0.0.1:{free_port()}"
        self._gateway = f"http://127.0.0.1:{free_port()}"
        self._nodes = KnownNodes()

    def start(self) -> None:
        """The parts that are never cut off, and a client of them."""
        signer = {
            "CONTRACTCOURT_SIGNER_HOST": "127.0.0.1",
            "CONTRACTCOURT_SIGNER_PORT": self._signer.rpartition(":")[2],
            "CONTRACTCOURT_SEAL_KEY_FILE": str(seal_key_file(self.logs)),
        }
        gateway = {
            "CONTRACTCOURT_GATEWAY_PORT": self._gateway.rpartition(":")[2],
            "CONTRACTCOURT_OPERATOR_TOKEN": _TOKENS["operator_token"],
        }
        here = {**self._urls, "CONTRACTCOURT_SIGNER_URL": self._signer}
        for name, more in (("signer", signer), ("gateway", gateway), ("beat", {})):
            self._run_here(name, {**here, **more})
        _until_ready(lambda: probes.http(f"{self._signer}/healthz"))
        _until_ready(lambda: probes.http(f"{self._gateway}/readyz"))
        endpoints = {"gateway": self._gateway, "signer": self._signer, **_TOKENS}
        urls = self._urls
        endpoints |= {"postgres": urls["DATABASE_URL"], "bitcoind": urls["BITCOIND_URL"]}
        self.client = PatientClient(endpoints)
        self._stack.callback(self.client.close)

    def watcher(self, host: Host) -> Process:
        """A watcher on this host."""
        return self._run_there(host, "watcher", ())

    def worker(self, host: Host, children: int = 1) -> Process:
        """A Celery worker on this host; ready when this returns."""
        ready = self.logs / f"worker-{host.name}.ready"
        process = self._run_there(
            host,
            "worker",
            (f"--concurrency={children}", f"--queues={_QUEUES}", f"--name={host.name}@%h",
             f"--ready-file={ready}"),
        )  # fmt: skip
        _until_ready(lambda: probes.ready_file(ready))
        return process

    def node(self, name: str, sweep_script: bytes) -> NodeAccount:
        """A node of this name: at the first time of asking, registered and given a fee wallet."""
        return self._nodes.account(self.client, name, sweep_script)

    def stop(self) -> None:
        """End what runs beside the stores; the hosts end their own."""
        self._stack.close()

    def _run_here(self, part: str, environment: Mapping[str, str]) -> None:
        program = Program(part, (*_CLI, part), {**self._common(part), **environment})
        process = Process(program, self.logs)
        process.start()
        self._stack.callback(process.kill)

    def _run_there(self, host: Host, part: str, options: tuple[str, ...]) -> Process:
        name = f"{part}-{host.name}"
        environment = {**self._common(name), **host.reach_all(self._urls)}
        environment["CONTRACTCOURT_SIGNER_URL"] = host.reach(self._signer)
        return host.run(name, (*_CLI, part, *options), environment, self.logs)

    def _common(self, name: str) -> dict[str, str]:
        return {
            **_HURRIED,
            "CONTRACTCOURT_DATA_DIR": str(self.logs / name),
            "CONTRACTCOURT_SIGNER_TOKEN": _TOKENS["signer_token"],
            "CONTRACTCOURT_WEBHOOK_KEY": _TOKENS["webhook_key"],
        }


class PatientClient(CourtClient):
    """A host that is cut off costs time, and nothing else."""

    def wait_quiet(self, seconds: float = 240) -> None:
        super().wait_quiet(seconds)


def _until_ready(probe: Callable[[], str | None]) -> None:
    give_up_at = time.monotonic() + _START_SECONDS
    while not_ready := probe():
        assert time.monotonic() < give_up_at, not_ready
        time.sleep(0.1)


@contextmanager
def running_fleet(folder: Path, *, postgres: str, redis: str, bitcoind: str) -> Iterator[Fleet]:
    """A fleet for the length of a `with`; its logs are in `folder`."""
    fleet = Fleet(folder, postgres=postgres, redis=redis, bitcoind=bitcoind)
    fleet.logs.mkdir()
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()
