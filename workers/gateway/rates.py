"""How often anybody may knock: nodes by their name, strangers by their address.

A node is charged for what it signed, so nobody but itself can use up its allowance. Whoever proves
nothing is charged by address for each refusal, and is turned away unread once his allowance is
gone; but a node that has signed something from there before is let through, and so is whoever
shows a login, so that a stranger behind the same proxy cannot shut them out.

Everything is held in memory, for at most `_MOST_KNOWN` names each: the least recent are forgotten.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from threading import Lock

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.gateway.problems import Problem, problem_response

_MOST_KNOWN = 10_000
#: Answers that a stranger gets; 409 and 422 only come after a valid signature.
_STRANGERS = frozenset({400, 401, 403, 404, 405, 408, 413})


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second for ever, and `burst` at once after a rest."""

    per_second: float
    burst: float


class Allowances:
    """A bucket of tokens for each name; may be used from several threads."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def charge(self, name: str) -> float:
        """Take one; 0 when there was one, else the seconds until there is, and none is taken."""
        with self._lock:
            left = self._now(name)
            if left >= 1:
                self._put(name, left - 1)
                return 0.0
            return (1 - left) / self._rate.per_second

    def wait(self, name: str) -> float:
        """The seconds until there is one; takes none."""
        with self._lock:
            return max(0.0, 1 - self._now(name)) / self._rate.per_second

    def __len__(self) -> int:
        return len(self._left)

    def _now(self, name: str) -> float:
        left, at = self._left.get(name, (self._rate.burst, self._clock()))
        return min(self._rate.burst, left + (self._clock() - at) * self._rate.per_second)

    def _put(self, name: str, left: float) -> None:
        self._left[name] = (left, self._clock())
        self._left.move_to_end(name)
        if len(self._left) > _MOST_KNOWN:
            self._left.popitem(last=False)


class Rates:
    """The allowances of one gateway."""

    def __init__(
        self,
        nodes: Rate = Rate(500, 5_000),
        strangers: Rate = Rate(20, 1_000),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = Allowances(nodes, clock)
        self._strangers = Allowances(strangers, clock)
        self._proven: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = Lock()

    def prove(self, address: str, node: str) -> None:
        """This node signed something from this address. Raises Problem 429 when it is too much."""
        with self._lock:
            self._proven[address, node] = None
            self._proven.move_to_end((address, node))
            if len(self._proven) > _MOST_KNOWN:
                self._proven.popitem(last=False)
        if seconds := self._nodes.charge(node):
            raise too_many(f"node {node} sends more than this court takes from one node", seconds)

    def turned_away(self, address: str, node: str) -> Problem | None:
        """Why this address is not listened to now."""
        if (address, node) in self._proven:
            return None
        seconds = self._strangers.wait(address)
        return too_many("too many refused requests from your address", seconds) if seconds else None

    def refused(self, address: str, node: str) -> None:
        """An answer for strangers was given."""
        if (address, node) not in self._proven:
            self._strangers.charge(address)


class StrangersLimit:
    """ASGI middleware: turns addresses away, unread, that were refused too often.

    `has_login` says whether the head of a request proves who sends it; then its address counts
    for nothing.
    """

    def __init__(self, app: ASGIApp, rates: Rates, has_login: Callable[[Scope], bool]) -> None:
        self._app = app
        self._rates = rates
        self._has_login = has_login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address, node = address_of(scope), _node_of(scope["path"])
        problem = self._rates.turned_away(address, node)
        if problem and not self._has_login(scope):
            response = problem_response(problem, scope)
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            started = message["type"] == "http.response.start"
            if started and message["status"] in _STRANGERS and not self._has_login(scope):
                self._rates.refused(address, node)
            await send(message)

        await self._app(scope, receive, watched)


def too_many(detail: str, seconds: float) -> Problem:
    """429, and when to come again."""
    after = max(1, math.ceil(seconds))
    return Problem(
        "too-many-requests",
        f"{detail}: nothing was stored, come again in {after} s",
        {"Retry-After": str(after)},
    )


def address_of(scope: Scope) -> str:
    """Whom a request comes from; of IPv6 the network, of which one owner has a whole one.

    A socket for both kinds shows IPv4 within one network of IPv6, which is nobody's alone.
    """
    host = (scope.get("client") or ("",))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    if not isinstance(address, IPv6Address):
        return host
    within = address.ipv4_mapped
    return address.exploded[:19] if within is None else str(within)


def _node_of(path: str) -> str:
    """The node whose webhook this is; empty for any other path."""
    _, _, rest = path.partition("/v1/nodes/")
    name, _, what = rest.partition("/")
    return name if what == "events" else ""
