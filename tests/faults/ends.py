"""How a channel ended, less what differs from run to run: equal with and without faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from workers.simulation.client import CourtClient

#: What the node hears of every close. A reorg may have it told again, so each kind counts once.
_TOLD = (
    "channel.closing",
    "channel.closed",
    "htlc.failed",
    "htlc.fulfilled",
    "channel.fully_resolved",
)


@dataclass(frozen=True, slots=True)
class End:
    """The end of one channel.

    `lines`: each output of the close as (kind, value, winner, won); `confirmed`: how many of our
    transactions of each purpose were mined; `commitments`: how many of ours were ever published;
    `told`: kinds of webhook to the node.
    """

    state: str
    close_kind: str | None
    lines: tuple[tuple[Any, ...], ...]
    confirmed: tuple[tuple[str, int], ...]
    commitments: int
    force_closes: int
    told: frozenset[str]


def end_of(client: CourtClient, channel_point: str) -> End:
    """As the court shows it now."""
    case = client.channel(channel_point)
    account = client.account(channel_point)
    sent = case["broadcasts"]
    entries = client.docket(channel_point)["entries"]
    lines = sorted(
        (line["kind"] or "", line["value_sat"], line["winner"], line["won_sat"])
        for line in account["lines"]
    )
    confirmed = Counter(b["purpose"] for b in sent if b["state"] == "confirmed")
    return End(
        state=case["state"],
        close_kind=case["close_kind"],
        lines=tuple(lines),
        confirmed=tuple(sorted(confirmed.items())),
        commitments=sum(b["purpose"] == "commitment" for b in sent),
        force_closes=sum(entry["type"] == "force_close_requested" for entry in entries),
        told=frozenset(kind for kind in _TOLD if client.notifications(channel_point, kind)),
    )
