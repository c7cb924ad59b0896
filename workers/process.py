"""One child process: what is started, how it is asked to stop, and that it never outlives us.

Every child leads its own process group, so that Ctrl-C reaches the supervisor alone and the
order of stopping stays ours. On Linux the kernel signals the child when its parent dies
(`PR_SET_PDEATHSIG`), so that even a SIGKILL of the supervisor leaves nothing behind. That
signal follows the parent's *thread*: start children from the main thread only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tasks.environment import secret_variables

_PR_SET_PDEATHSIG = 1
_ROTATE_LOG_BYTES = 32 * 1024 * 1024

# Loaded once, before any fork: dlopen between fork and exec could meet a held lock.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """The system account a child runs as when it may not be root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Program:
    """A child as planned: nothing here changes while it runs or restarts."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to our own environment without its secrets; what a child needs of those goes here,
    never into argv, where `ps` shows it."""
    account: Account | None = None
    working_folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends the child when we die without stopping it."""
    stop_seconds: float = 10.0


class Process:
    """A `Program` that may be started, asked to stop, and started again; logs to one file."""

    def __init__(self, program: Program, logs: Path) -> None:
        self.program = program
        self.log_path = logs / f"{program.name}.log"
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, also of a child that has ended; None before the first start."""
        return self._popen.pid if self._popen else None

    def start(self) -> None:
        """Start it. Raises OSError when the program cannot be run at all."""
        program = self.program
        with self._open_log() as log:
            self._popen = subprocess.Popen(
                program.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**_handed_on(), **program.environment},
                cwd=program.working_folder,
                start_new_session=True,
                user=program.account.uid if program.account else None,
                group=program.account.gid if program.account else None,
                extra_groups=[] if program.account else None,
                preexec_fn=leash(program.orphan_signal),
            )

    def exit_code(self) -> int | None:
        """None while it runs (or never ran); else how it ended, negative for a signal."""
        return self._popen.poll() if self._popen else None

    def ask_to_stop(self) -> None:
        """Send the stop signal, once; `finish` waits for the end."""
        if self._popen and self._popen.poll() is None:
            self._popen.send_signal(self.program.stop_signal)

    def finish(self) -> bool:
        """Wait for the end after `ask_to_stop`; kill the whole group when it takes too long.

        Returns whether it ended by itself.
        """
        if self._popen is None:
            return True
        try:
            self._popen.wait(self.program.stop_seconds)
            in_time = True
        except subprocess.TimeoutExpired:
            in_time = False
        self.kill()
        return in_time

    def kill(self) -> None:
        """SIGKILL to the whole process group, so that no grandchild stays either."""
        if self._popen is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def last_lines(self, count: int = 15) -> str:
        """The end of its log, for a person who must be told why it does not start."""
        try:
            text = self.log_path.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-count:])

    def _open_log(self) -> BinaryIO:
        with suppress(FileNotFoundError):
            if self.log_path.stat().st_size > _ROTATE_LOG_BYTES:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))
        return self.log_path.open("ab")


def _handed_on() -> dict[str, str]:
    """Our environment without the secrets: a child knows those that its program names."""
    hidden = secret_variables()
    return {name: value for name, value in os.environ.items() if name not in hidden}


def leash(orphan_signal: signal.Signals) -> Callable[[], None]:
    """A function for the child, to be run between fork and exec, that ties it to its parent."""
    parent = os.getpid()

    def tie() -> None:
        if _LIBC is None:
            return
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above
            os.kill(os.getpid(), signal.SIGKILL)

    return tie
