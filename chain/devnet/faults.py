"""Faults on order: the next calls of a method are slow, go wrong or are never answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a call instead of, or before, its answer."""

    error: dict[str, Any] | None = None
    """A JSON-RPC error {code, message}; the call is not carried out."""
    result: Any = None
    """A result given instead of the real one, when `has_result`; the call is not carried out."""
    has_result: bool = False
    delay_seconds: float = 0
    drop: str | None = None
    """`before`: the connection closes, nothing done; `after`: done, but the answer is lost."""
    http_status: int | None = None
    """An answer of this HTTP status without a body, as 503 when Core's work queue is full."""


class Faults:
    """Faults by method; `*` is every method."""

    def __init__(self) -> None:
        self._planned: dict[str, tuple[int, Fault]] = {}

    def plan(self, method: str, calls: int, fault: Fault) -> None:
        """The next `calls` calls of `method` meet this fault; 0 takes it back."""
        if calls > 0:
            self._planned[method] = (calls, fault)
        else:
            self._planned.pop(method, None)

    def clear(self) -> None:
        self._planned.clear()

    def meet(self, method: str) -> Fault | None:
        """The fault that this call meets; counts it. The devnet's own calls meet none."""
        if method.startswith("devnet_"):
            return None
        for name in (method, "*"):
            if name in self._planned:
                left, fault = self._planned[name]
                self.plan(name, left - 1, fault)
                return fault
        return None
