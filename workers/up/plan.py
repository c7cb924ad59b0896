"""Every process of a court on one machine, and what each is told."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from contractcourt.errors import ContractCourtError
from storage.roles import Role
from tasks.settings import PREFIX, Settings
from workers.embedded.devnet import EmbeddedDevnet
from workers.embedded.postgres import EmbeddedPostgres
from workers.embedded.redis import EmbeddedRedis
from workers.process import Program
from workers.up import probes
from workers.up.part import Part
from workers.up.secrets import Secrets

_PYTHON = (sys.executable, "-m")
_CLI = (*_PYTHON, "workers.cli")
LOOPBACK = "127.0.0.1"
#: What the other workers take where the archivist is one of its own: they may not do its work.
_NO_ARCHIVE = ("--queues", "urgent,urgent_sweeps,arbitrate,publish,notify,reconcile")
_NOBODY: Mapping[Role, str] = MappingProxyType({})


class CannotPlan(ContractCourtError):
    """This court cannot be started as asked."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the stores and the Bitcoin node are, embedded or given."""

    postgres: str
    redis: str
    bitcoind: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """What opens the gateway and the signer: given by the environment, else made here."""

    operator: str
    signer: str
    seal_key_file: Path
    webhook_key: str


class Stores:
    """Postgres, Redis and the chain: those that the environment does not give are embedded."""

    def __init__(self, data_dir: Path, settings: Settings, secrets: Secrets) -> None:
        self._settings = settings
        self.postgres = (
            None
            if settings.database_url
            else EmbeddedPostgres(data_dir / "postgres", secrets.postgres_password)
        )
        self.redis = (
            None
            if settings.redis_url
            else EmbeddedRedis(data_dir / "redis", secrets.redis_password)
        )
        self.devnet = (
            None
            if settings.bitcoind_url
            else EmbeddedDevnet(data_dir / "devnet", secrets.bitcoind_password)
        )
        if self.devnet and settings.network != "regtest":
            raise CannotPlan(
                f"{PREFIX}NETWORK is {settings.network}, but BITCOIND_URL is not set and the "
                "embedded chain is regtest: set BITCOIND_URL to your node, or unset the network"
            )

    def parts(self) -> list[Part]:
        """The embedded ones."""
        parts = []
        if postgres := self.postgres:
            parts.append(
                Part("postgres", postgres.program, lambda p: probes.postgres(postgres.url(p)))
            )
        if redis := self.redis:
            parts.append(Part("redis", redis.program, lambda p: probes.redis_server(redis.url(p))))
        if devnet := self.devnet:
            parts.append(
                Part("devnet", devnet.program, lambda p: probes.bitcoin_node(devnet.url(p)))
            )
        return parts

    def addresses(self, ports: dict[str, int]) -> Addresses:
        """Where all three are, once the embedded ones have their ports."""
        given = self._settings
        return Addresses(
            postgres=given.database_url or self._embedded(self.postgres, ports, "postgres"),
            redis=given.redis_url or self._embedded(self.redis, ports, "redis"),
            bitcoind=given.bitcoind_url or self._embedded(self.devnet, ports, "devnet"),
        )

    @staticmethod
    def _embedded(
        server: EmbeddedPostgres | EmbeddedRedis | EmbeddedDevnet | None,
        ports: dict[str, int],
        name: str,
    ) -> str:
        assert server is not None
        return server.url(ports[name])


class Fleet:
    """The court's own processes, told everything by their environment.

    Each is told what it needs: beat and Flower know Redis alone, the signer its database alone.
    `databases` are the URLs of the processes that log in as a user of their own; without one it
    is `addresses.postgres`.
    """

    def __init__(
        self,
        data_dir: Path,
        settings: Settings,
        addresses: Addresses,
        tokens: Tokens,
        databases: Mapping[Role, str] = _NOBODY,
    ) -> None:
        self._run_dir = data_dir / "run"
        self._run_dir.mkdir(mode=0o700, exist_ok=True)
        self._settings = settings
        self._addresses = addresses
        self._tokens = tokens
        self._databases = databases
        self._told = {
            f"{PREFIX}DATA_DIR": str(data_dir),
            f"{PREFIX}ALLOW_PRIVATE_WEBHOOKS": allows_private_webhooks(settings),
        }
        self._waking = {**self._told, "REDIS_URL": addresses.redis}

    def signer(self) -> Part:
        """The signer; the others need its address."""

        def program(port: int) -> Program:
            return Program(
                "signer",
                (*_CLI, "signer"),
                {
                    **self._told,
                    "DATABASE_URL": self._database(Role.SIGNER),
                    f"{PREFIX}SIGNER_HOST": LOOPBACK,
                    f"{PREFIX}SIGNER_PORT": str(port),
                    f"{PREFIX}SIGNER_TOKEN": self._tokens.signer,
                    f"{PREFIX}SEAL_KEY_FILE": str(self._tokens.seal_key_file),
                    f"{PREFIX}SIGNER_SWEEP_SCRIPTS": self._settings.signer_sweep_scripts or "",
                },
            )

        return Part("signer", program, lambda port: probes.http(f"{url(port)}/healthz"))

    def workers(self, signer_port: int, gateway_port: int | None) -> list[Part]:
        """Gateway, watcher, Celery workers, beat and Flower. `gateway_port` 0 is any free one."""
        signing = {
            f"{PREFIX}SIGNER_URL": url(signer_port),
            f"{PREFIX}SIGNER_TOKEN": self._tokens.signer,
        }
        working = {
            **self._stores(Role.WORKER),
            **signing,
            f"{PREFIX}WEBHOOK_KEY": self._tokens.webhook_key,
            f"{PREFIX}OPERATOR_WEBHOOK_SECRET": self._settings.operator_webhook_secret or "",
        }
        return [
            self._gateway(signing, gateway_port),
            Part(
                "watcher",
                lambda _: Program("watcher", (*_CLI, "watcher"), self._stores(Role.WATCHER)),
                lambda _: probes.watcher(self._addresses.postgres),
                listens=False,
            ),
            self._celery("worker", working, self._worker()),
            # What is short is not to wait behind rounds of sweeping, which may be long.
            self._taking_only("urgent", "urgent", working),
            self._taking_only("urgent_sweeps", "urgent-sweeps", working),
            *self._archivist(),
            self._celery("beat", self._waking, ("beat",)),
            self._flower(),
        ]

    def _stores(self, role: Role) -> dict[str, str]:
        return {
            **self._waking,
            "DATABASE_URL": self._database(role),
            "BITCOIND_URL": self._addresses.bitcoind,
        }

    def _database(self, role: Role) -> str:
        return self._databases.get(role, self._addresses.postgres)

    def _gateway(self, signing: dict[str, str], asked: int | None) -> Part:
        def program(port: int) -> Program:
            environment = {
                **self._stores(Role.GATEWAY),
                **signing,
                f"{PREFIX}GATEWAY_HOST": self._settings.gateway_host,
                f"{PREFIX}GATEWAY_PORT": str(port),
                f"{PREFIX}OPERATOR_TOKEN": self._tokens.operator,
                f"{PREFIX}WEBHOOK_KEY": self._tokens.webhook_key,
                f"{PREFIX}VIEWER_TOKEN": self._settings.viewer_token or "",
            }
            return Program("gateway", (*_CLI, "gateway"), environment)

        return Part(
            "gateway",
            program,
            lambda port: probes.http(f"{url(port)}/readyz"),
            preferred_port=self._settings.gateway_port if asked is None else asked or None,
            fixed_port=bool(asked),
        )

    def _worker(self) -> tuple[str, ...]:
        queues = _NO_ARCHIVE if self._databases else ()
        return ("worker", "--concurrency", str(self._settings.worker_concurrency), *queues)

    def _archivist(self) -> list[Part]:
        """Only the owner of the docket may put its old months away; workers are none."""
        if not self._databases:
            return []
        owner = {**self._waking, "DATABASE_URL": self._addresses.postgres}
        return [self._taking_only("archive", "archivist", owner)]

    def _taking_only(self, queue: str, name: str, told: dict[str, str]) -> Part:
        """One process that takes from this queue and does nothing else (users_ask C7)."""
        only = ("--queues", queue, "--name", f"{name}@%h", "--concurrency", "1")
        return self._celery(name, told, ("worker", *only))

    def _celery(self, name: str, told: dict[str, str], command: tuple[str, ...]) -> Part:
        ready = self._run_dir / f"{name}.ready"

        def program(_port: int) -> Program:
            ready.unlink(missing_ok=True)
            return Program(
                name,
                (*_CLI, *command, "--ready-file", str(ready)),
                told,
                # Celery's warm shutdown ends the tasks at hand; each ends within its time limit.
                stop_seconds=self._settings.task_time_limit_seconds + 5.0,
            )

        return Part(name, program, lambda _: probes.ready_file(ready), listens=False)

    def _flower(self) -> Part:
        def program(port: int) -> Program:
            return Program(
                "flower",
                (
                    *(*_PYTHON, "celery", "-A", "tasks.app", "flower"),
                    *(f"--address={LOOPBACK}", f"--port={port}", "--persistent=False"),
                ),
                self._waking,
                stop_signal=signal.SIGTERM,
            )

        return Part("flower", program, lambda port: probes.http(f"{url(port)}/healthcheck"))


def url(port: int) -> str:
    """A server of ours on loopback."""
    return f"http://{LOOPBACK}:{port}"


def allows_private_webhooks(settings: Settings) -> str:
    """Nodes beside a court on one machine take their webhooks on a private address."""
    is_given = "allow_private_webhooks" in settings.model_fields_set
    return "true" if settings.allow_private_webhooks or not is_given else "false"
