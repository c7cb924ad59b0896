"""Errors of the long-running processes and of what starts, replays and shows them."""

from __future__ import annotations

from contractcourt.errors import ContractCourtError


class WorkerError(ContractCourtError):
    """A process of the court could not do its work."""


def last_line(error: Exception) -> str:
    """The last line of what an error says: the others name the attempts before it.

    What it asks (libpq's "Is the server running ..?") is no reason, and is passed over.
    """
    lines = str(error).strip().splitlines()
    lines = [line for line in lines if not line.endswith("?")] or lines
    return lines[-1].strip() if lines else type(error).__name__
