"""What a transaction that spends the funding output is (`bolt5_rules.md` section 3).

Judged by txids where we hold them, then by the commitment number that the transaction itself
carries, then by the scripts on its outputs. Amounts are never assumed.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from contractcourt.arbitrator.htlcs import valid_htlcs
from contractcourt.arbitrator.told_commitment import checked
from contractcourt.arbitrator.urgency import obscuring_factor
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import closing, numbers, points, secrets
from contractcourt.bolt3.recognition import tells_owner
from contractcourt.case import Case
from contractcourt.channel import Channel, Htlc, LocalCommitment, RemoteCommitment, Side
from contractcourt.effects import CloseKind
from contractcourt.errors import LawError
from contractcourt.units import PublicKey, Txid


class Classified(msgspec.Struct, frozen=True):
    """A spend of the funding output, named. `owner` is None when it is no commitment."""

    kind: CloseKind
    owner: Side | None = None
    number: int | None = None
    per_commitment_point: PublicKey | None = None
    htlcs: tuple[Htlc, ...] = ()


def is_replacement(case: Case, txid: Txid) -> bool:
    """C1: a splice, or an RBF of the funding, that the node told us of: not a close."""
    return txid in case.splice.funding_txid_candidates


def classify(case: Case, tx: Transaction) -> Classified:
    """Name a spend of the funding output, C2 to C7; C1 is `is_replacement`.

    Our own commitments come first, by txid, so that a stale number can never turn one of them
    into somebody's breach.
    """
    if not case.channel.known_type:
        return Classified(CloseKind.UNKNOWN_SPEND)
    own = _own_commitment(case, tx.txid())
    if own is not None:
        return _as_local(case, own)
    number = commitment_number(case.channel, tx)
    if number is not None:
        return _by_number(case, tx, number)
    if closing.has_closing_shape(tx):
        return Classified(CloseKind.COOPERATIVE)
    return Classified(CloseKind.UNKNOWN_SPEND)


def commitment_number(channel: Channel, tx: Transaction) -> int | None:
    """The number a commitment of this channel carries, or None when it has no such shape."""
    if tx.version != 2 or len(tx.inputs) != 1:
        return None
    return numbers.decode(tx.locktime, tx.inputs[0].sequence, obscuring_factor(channel))


def _own_commitment(case: Case, txid: Txid) -> LocalCommitment | None:
    return next((c for c in case.held if c.txid == txid), None)


def _as_local(case: Case, commitment: LocalCommitment) -> Classified:
    point = commitment.per_commitment_point or local_point(case, commitment.number)
    if commitment.per_commitment_point is None and point is not None:
        commitment = _in_order(case, commitment, point)
    return Classified(CloseKind.LOCAL, Side.LOCAL, commitment.number, point, commitment.htlcs)


def _in_order(case: Case, commitment: LocalCommitment, point: PublicKey) -> LocalCommitment:
    """It was told while our point was not known: which of equal HTLCs is which shows only now.

    One that does not fit is left as it was told: some of it may be claimed all the same.
    """
    with suppress(LawError):
        return checked(case, msgspec.structs.replace(commitment, per_commitment_point=point))
    return commitment


def local_point(case: Case, number: int) -> PublicKey | None:
    """Our per-commitment point of `number`, if the signer has told it."""
    for known in case.local_points:
        if known.number == number:
            return known.per_commitment_point
    return None


def _by_number(case: Case, tx: Transaction, number: int) -> Classified:
    for commitment in case.remote_commitments:
        if commitment.number == number and _pays_theirs(case, tx, commitment):
            return _as_remote(case, commitment)
    if _is_ours(case, tx, number):
        return _as_local_unknown(case, number)
    lowest = case.remote_commitments[0].number if case.remote_commitments else 0
    if number < lowest:
        return _as_revoked(case, number)
    return Classified(CloseKind.DATA_LOSS, Side.REMOTE, number)


def _as_local_unknown(case: Case, number: int) -> Classified:
    """With every HTLC that is known: the scripts tell which of them it holds (L7)."""
    found = {(htlc.direction, htlc.id): htlc for _, _, htlc in valid_htlcs(case)}
    point = local_point(case, number)
    return Classified(CloseKind.LOCAL_UNKNOWN, Side.LOCAL, number, point, tuple(found.values()))


def _as_remote(case: Case, commitment: RemoteCommitment) -> Classified:
    first = case.remote_commitments[0].number
    kind = CloseKind.REMOTE if commitment.number == first else CloseKind.REMOTE_PENDING
    return Classified(
        kind, Side.REMOTE, commitment.number, commitment.per_commitment_point, commitment.htlcs
    )


def _as_revoked(case: Case, number: int) -> Classified:
    point = _revoked_point(case, number)
    return Classified(CloseKind.BREACH, Side.REMOTE, number, point, _recalled(case, number))


def _revoked_point(case: Case, number: int) -> PublicKey | None:
    secret = secrets.lookup(case.revocation_secrets, secrets.secret_index(number))
    return points.public_key(secret) if secret is not None else None


def _recalled(case: Case, number: int) -> tuple[Htlc, ...]:
    recalled = case.recalled
    return recalled.htlcs if recalled is not None and recalled.number == number else ()


def _pays_theirs(case: Case, tx: Transaction, commitment: RemoteCommitment) -> bool:
    """Some output carries a script that only this commitment of the peer has.

    All of them are known, and a commitment without any of them would have no output at all.
    """
    return tells_owner(
        case.channel, Side.REMOTE, commitment.per_commitment_point, tx, commitment.htlcs
    )


def _is_ours(case: Case, tx: Transaction, number: int) -> bool:
    """It is one of our own commitments, once none that the peer may still publish fits.

    A main output below dust is not there to tell: what speaks for neither side is taken for ours
    until the signer has told our point, and beyond that where all scripts of the peer are known.
    """
    point = local_point(case, number)
    if tells_owner(case.channel, Side.LOCAL, point, tx):
        return True
    revoked = _revoked_point(case, number)
    if tells_owner(case.channel, Side.REMOTE, revoked, tx, _recalled(case, number)):
        return False
    return point is None or any(c.number == number for c in case.remote_commitments)
