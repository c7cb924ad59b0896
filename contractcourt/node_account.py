"""The account of a node: its channels' accounts added up, to the satoshi (users_ask L25)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from contractcourt.account import Account
from contractcourt.units import Satoshi


class NodeAccount(msgspec.Struct, frozen=True):
    """Sums over channels, in satoshi. `final` counts those of which nothing can change any more.

    recovered + fees + lost + given up + open + agreed = what stood on the closes' outputs, which
    with the fees of the closes themselves is the channels' capacity. `recovered_sat` is what we won
    less `fees_sat`, all that our own transactions paid for it, justice and anchors included.
    """

    channels: int = 0
    final: int = 0
    capacity_sat: Satoshi = Satoshi(0)
    closing_fee_sat: Satoshi = Satoshi(0)
    recovered_sat: Satoshi = Satoshi(0)
    fees_sat: Satoshi = Satoshi(0)
    lost_sat: Satoshi = Satoshi(0)
    given_up_sat: Satoshi = Satoshi(0)
    open_sat: Satoshi = Satoshi(0)
    agreed_sat: Satoshi = Satoshi(0)

    @property
    def at_commitment_sat(self) -> Satoshi:
        """What stood on the outputs of the closes; all of it where nothing is closed."""
        return Satoshi(self.capacity_sat - self.closing_fee_sat)

    def plus(self, other: NodeAccount) -> NodeAccount:
        """Both together."""
        return NodeAccount(
            *(
                getattr(self, field) + getattr(other, field)
                for field in NodeAccount.__struct_fields__
            )
        )


def add_up(accounts: Iterable[Account]) -> NodeAccount:
    """One node's channels together."""
    total = NodeAccount()
    for account in accounts:
        total = total.plus(
            NodeAccount(
                channels=1,
                final=int(account.final),
                capacity_sat=account.capacity_sat,
                closing_fee_sat=account.closing_fee_sat,
                recovered_sat=account.net_sat,
                fees_sat=account.fees_sat,
                lost_sat=account.lost_sat,
                given_up_sat=account.given_up_sat,
                open_sat=account.open_sat,
                agreed_sat=account.agreed_sat,
            )
        )
    return total
