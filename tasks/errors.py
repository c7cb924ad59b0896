"""Errors of the tasks."""

from __future__ import annotations

from contractcourt.errors import ContractCourtError


class SettingsError(ContractCourtError):
    """A setting is missing, unknown or makes no sense; the message names it, never its value."""


class TaskError(ContractCourtError):
    """A task could not do its work."""


class BrokenLaw(TaskError):
    """The law failed on an event instead of deciding: a fault of ours, never of the input."""


class ForkedResources(TaskError):
    """Connections opened by one process were used by another; open them after the fork."""


class RefusedByEngine(TaskError):
    """The script engine rejects a transaction of ours: it is not published (promise P9)."""
