"""Better offers for what is out, where one is due: as far as the fee wallet pays for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from contractcourt.events import PublishOutcome
from contractcourt.sweeping.drafts import Shortfall, WalletCoin
from contractcourt.sweeping.groups import Group, raised, urgency
from contractcourt.sweeping.market import Market
from contractcourt.units import BlockHeight
from storage.broadcasts import Broadcast
from storage.sweep_inputs import StoredSweep
from tasks.resources import Resources
from tasks.signer_client import SignerUnavailable
from tasks.sweeper.attempt import NotSigned, Planned, Ready, plan, sign_planned, to_outbid
from tasks.sweeper.wallet import NodeWallet

#: A broadcast, and what of its inputs is still wanted.
Out = tuple[Broadcast, Sequence[StoredSweep]]


@dataclass(frozen=True, slots=True)
class Raises:
    """What is signed, and why the others are not; `away`: the signer left before the end."""

    ready: list[Ready] = field(default_factory=list)
    short: list[tuple[Group, Shortfall]] = field(default_factory=list)
    unsigned: list[NotSigned] = field(default_factory=list)
    away: SignerUnavailable | None = None


def signed_raises(
    held: Resources,
    out: Iterable[Out],
    wallet: NodeWallet,
    market: Market,
    height: BlockHeight,
) -> Raises:
    """For those of these for which a better offer is due."""
    planned, short = _planned(out, wallet, market, height)
    made, away = sign_planned(held, planned)
    ready = [one for one in made if isinstance(one, Ready)]
    return Raises(ready, short, [one for one in made if isinstance(one, NotSigned)], away)


@dataclass(frozen=True, slots=True)
class Reserved:
    """Coins that better offers need, which are as urgent as this."""

    urgency: tuple[float, int]
    coins: tuple[WalletCoin, ...]


def reserved(
    out: Iterable[Out], wallet: NodeWallet, market: Market, height: BlockHeight
) -> list[Reserved]:
    """What the better offers take that are due for these, the most urgent first."""
    planned, _ = _planned(out, wallet, market, height)
    return [Reserved(urgency(one.draft.group), one.draft.coins) for one in planned]


def is_left_behind(
    out: Broadcast, members: Sequence[StoredSweep], market: Market, height: BlockHeight
) -> bool:
    """The mempool asks for more than it pays, and no better offer can be made for it."""
    refused = out.last_outcome is PublishOutcome.FEE_TOO_LOW
    return refused and _better_group(out, members, market, height) is None


def _planned(
    out: Iterable[Out], wallet: NodeWallet, market: Market, height: BlockHeight
) -> tuple[list[Planned], list[tuple[Group, Shortfall]]]:
    planned: list[Planned] = []
    short: list[tuple[Group, Shortfall]] = []
    taken: list[WalletCoin] = []
    better = [(each, _better_group(each, members, market, height)) for each, members in out]
    due = [(broadcast, group) for broadcast, group in better if group is not None]
    for broadcast, group in sorted(due, key=lambda pair: urgency(pair[1])):
        match plan(group, wallet.at(height, broadcast).without(taken), market, broadcast):
            case Shortfall() as missing:
                short.append((group, missing))
            case Planned() as new:
                taken += new.draft.coins
                planned.append(new)
    return planned, short


def _better_group(
    out: Broadcast, members: Sequence[StoredSweep], market: Market, height: BlockHeight
) -> Group | None:
    outbid = to_outbid(out, market)
    if outbid is None:
        return None
    refused = out.last_outcome is PublishOutcome.FEE_TOO_LOW
    return raised([one.input for one in members], outbid, market, height, refused=refused)
