"""What the watcher would append to one channel's docket, applied at once."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.case import Case
from contractcourt.events import Event, HeightReached, SpendConfirmed, SpendUnconfirmed
from contractcourt.units import BlockHash, BlockHeight, HexBytes
from storage import cases, docket
from storage.database import Database
from tasks.arbitration import arbitrate


class ChainEvents:
    """The chain as one channel hears it; a block's hash follows from its height."""

    def __init__(self, db: Database, channel_id: int) -> None:
        self._db = db
        self._channel_id = channel_id
        self._told = 0

    def case(self) -> Case:
        """As it is stored."""
        with self._db.transaction() as conn:
            stored = cases.read(conn, self._channel_id)
        assert stored is not None
        return stored.case

    def tell(self, event: Event) -> None:
        """Append and apply it."""
        self._told += 1
        key = f"chain:{self._told}"
        self._db.run(
            lambda conn: docket.append(
                conn, self._channel_id, event, idempotency_key=key, source="chain"
            )
        )
        arbitrate(self._db, [self._channel_id])

    def spent(self, outpoint: OutPoint, tx: Transaction, height: int) -> None:
        """Confirmed at this height, which is the tip."""
        raw = HexBytes(tx.serialize())
        at = BlockHeight(height)
        self.tell(SpendConfirmed(outpoint, tx.txid(), raw, at, _hash(height), at))

    def unspent(self, outpoint: OutPoint, tx: Transaction, height: int) -> None:
        """The block of this height is gone."""
        tip = BlockHeight(height - 1)
        self.tell(SpendUnconfirmed(outpoint, tx.txid(), _hash(height), tip))

    def height(self, height: int) -> None:
        """The tip."""
        self.tell(HeightReached(BlockHeight(height)))


def _hash(height: int) -> BlockHash:
    return BlockHash(height.to_bytes(32, "big"))
