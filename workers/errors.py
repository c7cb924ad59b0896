"""Errors of the long-running processes and of what starts, replays and shows them."""

from __future__ import annotations

from contractcourt.errors import ContractCourtError


class WorkerError(ContractCourtError):
    """A process of the court could not do its work."""
