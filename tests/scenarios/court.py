"""What a story may ask of a court, whether it lives in memory or on the whole stack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import FundingPubkeys
from contractcourt.events import ChannelUpdate
from contractcourt.units import Secret, Txid
from workers.simulation.channel import SimulatedChannel


class Court(Protocol):
    """One channel before a court."""

    def begin(self, sim: SimulatedChannel) -> None:
        """Fund the channel on the chain, open it and tell both commitments 0."""

    def tell(self, *updates: ChannelUpdate) -> None:
        """The node tells these steps, in one webhook."""

    def tell_splice(self, splice: Transaction, pubkeys: FundingPubkeys | None = None) -> None:
        """The node tells of a splice that pays the new funding at output 0, and its own keys."""

    def import_splice_key(self, spliced: SimulatedChannel) -> None:
        """Hand the signer the funding key that the splice brought."""

    def tell_splice_txid(self, splice: Transaction) -> None:
        """The node tells of a splice, and not yet which output the new funding is."""

    def tell_preimage(self, preimage: Secret) -> None:
        """The node tells a preimage."""

    def force_close(self) -> Txid | None:
        """Ask for a force close; the txid of the commitment that is (to be) published."""

    def broadcast(self, tx: Transaction) -> None:
        """The peer, or the node itself, puts a transaction into the mempool."""

    def mine(self, count: int = 1) -> None:
        """Mine blocks; the first holds what the mempool has. Returns when the court rests."""

    def reorg(self, depth: int, transactions: Iterable[Transaction] = ()) -> None:
        """Replace the last `depth` blocks; the first new one holds `transactions`."""

    def refuse_publishing(self, refuse: bool) -> None:
        """From now on the Bitcoin node refuses our transactions for a reason of its own; or not."""

    def restart(self) -> None:
        """Every process of the court dies and comes back."""

    def in_mempool(self, txid: Txid) -> bool:
        """Whether this transaction waits to be mined."""

    @property
    def height(self) -> int:
        """The chain's height."""

    @property
    def state(self) -> str:
        """The case's state."""

    @property
    def close_kind(self) -> str | None:
        """The kind of the close, once final."""

    @property
    def contract_stages(self) -> dict[str, str]:
        """Kind of each contract to its stage."""

    @property
    def published_commitments(self) -> int:
        """How many different commitments the court has published."""

    @property
    def closed_in_database(self) -> bool:
        """The channel is marked closed."""

    def told(self, event_type: str) -> list[dict[str, object]]:
        """What the node was told under this type, in order."""

    def alarms(self) -> set[str]:
        """Kinds of alarm raised."""
