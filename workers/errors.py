"""Errors of the long-running processes and of what starts, replays and shows them."""

from __future__ import annotations

from contractcourt.errors import ContractCourtError


class WorkerError(ContractCourtError):
    """A process of the court could not do its work."""


def last_line(error: Exception) -> str:
    """The last line of what an error says: the others name the attempts before it."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
