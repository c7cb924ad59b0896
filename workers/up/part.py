"""One part of the court as the supervisor sees it: a program at a port, and whether it is ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workers.process import Program

NotReady = str
"""Why a part is not ready yet, in plain words."""


@dataclass(frozen=True, slots=True)
class Part:
    """What to run and how to ask it. `program` and `probe` are given the port it was handed."""

    name: str
    program: Callable[[int], Program]
    probe: Callable[[int], NotReady | None]
    listens: bool = True
    preferred_port: int | None = None
    """Tried first; another free one is taken when it is in use."""
    fixed_port: bool = False
    """Only `preferred_port` will do: the operator asked for it."""
