"""Starts parts, waits until they are ready, restarts what dies, stops all in order.

One thread, one loop: the kernel ties a child to the *thread* that started it (`process.leash`),
so every start happens here, in the main thread.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import structlog

from contractcourt.errors import ContractCourtError
from workers.embedded.ports import Ports, is_free
from workers.process import Process
from workers.up.part import Part

_log = structlog.get_logger()

_TICK_SECONDS = 0.05
_START_SECONDS = 120.0
_EARLY_DEATHS = 6
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 30.0
# A child that lived this long starts with a short pause again when it dies.
_STEADY_SECONDS = 60.0


class PartDidNotStart(ContractCourtError):
    """A part of the court does not start; its log says why."""


class StopAsked(Exception):
    """SIGINT or SIGTERM came while the court was starting. Not an error."""


@dataclass(slots=True)
class _Child:
    """A part under supervision."""

    part: Part
    port: int
    process: Process
    ready: bool = False
    deaths: int = 0
    started_at: float = 0.0
    restart_at: float | None = None
    last_answer: str = field(default="it was not asked yet")


class Supervisor:
    """The children of one `up`, in the order of their start."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._ports = Ports()
        self._tiers: list[list[_Child]] = []
        self._stop_signals = 0

    def listen_for_signals(self) -> None:
        """Take SIGINT, SIGTERM and SIGHUP from now on: the first stops, the second kills."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def bring_up(self, parts: Iterable[Part]) -> dict[str, int]:
        """Start `parts` together and wait until all are ready; their ports by name.

        Raises:
            PartDidNotStart: one keeps dying, or is not ready in time.
            StopAsked: a signal came first.
        """
        tier: list[_Child] = []
        self._tiers.append(tier)
        for part in parts:
            tier.append(self._new_child(part))
        give_up_at = time.monotonic() + _START_SECONDS
        while not all(child.ready for child in tier):
            self.check_stop()
            self._restart_the_dead()
            for child in tier:
                if not child.ready and child.restart_at is None:
                    self._probe(child)
                if child.deaths >= _EARLY_DEATHS or time.monotonic() > give_up_at:
                    raise _did_not_start(child)
            time.sleep(_TICK_SECONDS)
        return {child.part.name: child.port for child in tier}

    def watch(self) -> None:
        """Keep everything alive until a signal asks to stop."""
        while not self._stop_signals:
            self._restart_the_dead()
            time.sleep(_TICK_SECONDS * 2)

    def stop(self) -> None:
        """Stop all, the last started tier first, so that nobody loses the store he writes to."""
        for tier in reversed(self._tiers):
            for child in tier:
                child.process.ask_to_stop()
            self._wait_for_end(tier)
        self._tiers.clear()
        self._ports.close()

    def check_stop(self) -> None:
        """Raises StopAsked when a signal came."""
        if self._stop_signals:
            raise StopAsked

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_signals += 1

    def _new_child(self, part: Part) -> _Child:
        port = 0
        if part.listens:
            port = self._ports.take(part.preferred_port)
            if part.fixed_port and port != part.preferred_port:
                raise PartDidNotStart(
                    f"port {part.preferred_port} for {part.name} is in use: choose another --port"
                )
        child = _Child(part, port, Process(part.program(port), self._logs))
        self._start(child)
        return child

    def _start(self, child: _Child) -> None:
        try:
            child.process.start()
        except OSError as error:
            raise PartDidNotStart(
                f"{child.part.name} cannot be run: {error.strerror} "
                f"({child.process.program.argv[0]})"
            ) from error
        child.started_at = time.monotonic()
        child.restart_at = None

    def _restart_the_dead(self) -> None:
        now = time.monotonic()
        for child in [child for tier in self._tiers for child in tier]:
            if child.restart_at is None:
                self._notice_death(child, now)
            elif now >= child.restart_at and not self._stop_signals:
                self._move_if_port_was_taken(child)
                self._start(child)

    def _notice_death(self, child: _Child, now: float) -> None:
        exit_code = child.process.exit_code()
        if exit_code is None:
            return
        child.process.kill()  # what is left of its group
        if now - child.started_at > _STEADY_SECONDS:
            child.deaths = 0
        pause = min(_FIRST_PAUSE_SECONDS * 2**child.deaths, _LONGEST_PAUSE_SECONDS)
        child.deaths += 1
        child.restart_at = now + pause
        child.last_answer = f"it ended with exit code {exit_code}"
        _log.warning(
            "child ended",
            child=child.part.name,
            exit_code=exit_code,
            deaths=child.deaths,
            restart_in_seconds=pause,
            log=str(child.process.log_path),
        )

    def _move_if_port_was_taken(self, child: _Child) -> None:
        """Before others know the port, a part that lost the race for it gets another one."""
        part = child.part
        if part.listens and not child.ready and not part.fixed_port and not is_free(child.port):
            child.port = self._ports.take()
            child.process = Process(part.program(child.port), self._logs)

    def _probe(self, child: _Child) -> None:
        answer = child.part.probe(child.port)
        if answer is None and child.process.exit_code() is None:
            child.ready = True
            child.deaths = 0
            _log.info("child is ready", child=child.part.name, port=child.port or None)
        elif answer is not None:
            child.last_answer = answer

    def _wait_for_end(self, tier: list[_Child]) -> None:
        asked_at = time.monotonic()
        running = list(tier)
        while running:
            for child in list(running):
                overdue = time.monotonic() - asked_at > child.process.program.stop_seconds
                ended = child.process.exit_code() is not None or child.process.pid is None
                if ended or overdue or self._stop_signals > 1:
                    child.process.kill()
                    running.remove(child)
                    if not ended:
                        _log.warning("child had to be killed", child=child.part.name)
            time.sleep(_TICK_SECONDS / 2)


def _did_not_start(child: _Child) -> PartDidNotStart:
    return PartDidNotStart(
        f"{child.part.name} does not start: {child.last_answer}. "
        f"The end of {child.process.log_path}:\n{child.process.last_lines()}"
    )
