"""The outputs that fund a channel, did, or may: until a splice is locked there are several."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import FundingPubkeys, LocalCommitment
from contractcourt.record import Record
from contractcourt.units import Satoshi, Txid


class Funding(Record, frozen=True):
    """An output that funds the channel, did, or may do so once it is mined.

    `local_commitment` is our newest one that spends it. `funding_pubkeys` is None where the keys
    are those that the channel was opened with.
    """

    funding_outpoint: OutPoint
    capacity_sat: Satoshi | None = None
    local_commitment: LocalCommitment | None = None
    funding_pubkeys: FundingPubkeys | None = None

    def retired(self, capacity_sat: Satoshi, replaced_by: Txid) -> RetiredFunding:
        """The same once the splice `replaced_by` is mined."""
        return RetiredFunding(
            self.funding_outpoint,
            capacity_sat,
            replaced_by,
            self.local_commitment,
            self.funding_pubkeys,
        )


class Splice(Record, frozen=True):
    """Transactions that may replace the funding output without closing the channel.

    `funding_outpoint` is the new one as told last; `local_commitment` spends it, `funding_pubkeys`
    are its own. `earlier` are those that were told before it: of a splice and its RBFs any may be
    mined.
    """

    funding_txid_candidates: tuple[Txid, ...] = ()
    funding_outpoint: OutPoint | None = None
    capacity_sat: Satoshi | None = None
    local_commitment: LocalCommitment | None = None
    earlier: tuple[Funding, ...] = ()
    funding_pubkeys: FundingPubkeys | None = None

    @property
    def told(self) -> tuple[Funding, ...]:
        """Every new funding output that was told, the newest last."""
        if self.funding_outpoint is None:
            return ()
        newest = Funding(
            self.funding_outpoint, self.capacity_sat, self.local_commitment, self.funding_pubkeys
        )
        return (*self.earlier, newest)

    def find(self, outpoint: OutPoint) -> Funding | None:
        """What was told of `outpoint` as a new funding."""
        return next((new for new in self.told if new.funding_outpoint == outpoint), None)

    def telling(self, *told: Funding) -> Splice:
        """The same candidates with these new funding outputs, the newest last."""
        if not told:
            return Splice(self.funding_txid_candidates)
        return Splice(
            self.funding_txid_candidates,
            told[-1].funding_outpoint,
            told[-1].capacity_sat,
            told[-1].local_commitment,
            told[:-1],
            told[-1].funding_pubkeys,
        )

    def replacing(self, changed: Funding) -> Splice:
        """The same, with this one told anew in its place."""
        outpoint = changed.funding_outpoint
        return self.telling(*(changed if n.funding_outpoint == outpoint else n for n in self.told))

    def without(self, outpoint: OutPoint) -> Splice:
        """The same, as if this one had not been told."""
        return self.telling(*(new for new in self.told if new.funding_outpoint != outpoint))


class RetiredFunding(Record, frozen=True):
    """A funding output that a confirmed splice replaced, kept because a reorg can revive it."""

    funding_outpoint: OutPoint
    capacity_sat: Satoshi
    replaced_by: Txid
    local_commitment: LocalCommitment | None
    funding_pubkeys: FundingPubkeys | None = None

    @property
    def funding(self) -> Funding:
        """As it was, and is again after a reorg."""
        return Funding(
            self.funding_outpoint, self.capacity_sat, self.local_commitment, self.funding_pubkeys
        )
