"""What the node says of its channel: commitments, revocations, preimages.

Each part is checked against what is already known before it is believed; anything that does not
fit raises and changes nothing, so that the gateway can refuse it at the door.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator import stakes
from contractcourt.arbitrator.classification import commitment_number
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.arbitrator.told_commitment import check_commitment_numbers, checked
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import points, secrets
from contractcourt.bolt3.commitment import is_trimmed
from contractcourt.case import Case, KnownPreimage
from contractcourt.channel import Channel, LocalCommitment, RemoteCommitment, RevokedSecret, Side
from contractcourt.effects import RememberRevokedState
from contractcourt.errors import (
    CommitmentMismatch,
    CommitmentNumberRegression,
    LawError,
    OutOfOrder,
    RevocationSecretMismatch,
    UnsupportedChannelType,
)
from contractcourt.events import ChannelUpdate, PreimageLearned
from contractcourt.fundings import Funding

#: Between our commitment_signed and the peer's revoke_and_ack two of theirs are valid.
_MOST_UNREVOKED = 2


def hear_updates(hearing: Hearing, updates: Sequence[ChannelUpdate]) -> None:
    """Take in steps of the channel. Raises a LawError when any part of one does not fit."""
    before = hearing.case
    for update in updates:
        _hear_update(hearing, update)
    _check_nothing_left_out(before, hearing.case)


def _hear_update(hearing: Hearing, update: ChannelUpdate) -> None:
    if not hearing.case.channel.known_type:
        raise UnsupportedChannelType(
            f"a {hearing.case.channel.channel_type} channel is only watched: its commitments "
            "can't be checked or published"
        )
    if update.local_commitment is not None:
        _hear_local(hearing, update.local_commitment)
    for remote in (update.remote_commitment, update.remote_pending_commitment):
        if remote is not None:
            _hear_remote(hearing, remote)
    if update.revoked_secret is not None:
        _hear_secret(hearing, update.revoked_secret)


def _hear_local(hearing: Hearing, commitment: LocalCommitment) -> None:
    case = hearing.case
    funding = _check_shape(case, commitment)
    if not _is_news(funding.local_commitment, commitment):
        return
    commitment = checked(_with_funding(case, funding), commitment)
    _warn_of_what_was_decided(hearing, commitment)
    if funding.funding_outpoint != case.channel.funding_outpoint:
        _keep_elsewhere(hearing, funding, commitment)
        return
    if funding.local_commitment is None or funding.local_commitment.txid != commitment.txid:
        previous = stakes.decided_commitment(case) or case.local_commitment
        hearing.change(previous_local_commitment=previous)
    hearing.change(local_commitment=commitment)
    _keep_what_is_mined(hearing, case)


def _warn_of_what_was_decided(hearing: Hearing, commitment: LocalCommitment) -> None:
    """With a newer one the node may reveal the secret of the one that was decided (F6)."""
    case = hearing.case
    decided = case.force_close
    if decided is None or case.closed or commitment.number <= decided.commitment_number:
        return
    hearing.alarm(
        AlarmKind.UPDATE_AFTER_FORCE_CLOSE,
        # In the same words each time: it comes with every payment of a node that goes on.
        "the node accepted a newer commitment after a force close was decided; the one that was "
        "decided may be revoked now and is sent no more; stop its channel",
    )


def _keep_what_is_mined(hearing: Hearing, before: Case) -> None:
    """Its HTLCs are claimed by the signatures that came with it, however many come after it."""
    case, spend = hearing.case, hearing.case.funding_spend
    mined = next((c for c in before.held if spend is not None and c.txid == spend.txid), None)
    if mined is None or any(c.txid == mined.txid for c in case.held):
        return
    hearing.change(decided_before=(*case.decided_before, mined))
    hearing.alarm(
        AlarmKind.LOCAL_UNKNOWN,
        f"commitment {mined.number} of our own is mined (transaction {mined.txid}), and the node "
        "went on for two more: is an old copy of the node running?",
    )


def _is_news(known: LocalCommitment | None, commitment: LocalCommitment) -> bool:
    """Raises when an older one, or another of the same number, is told for the same funding.

    The same is news where only now its HTLCs can be held against the transaction.
    """
    if known is None or commitment.number > known.number:
        return True
    if commitment.number < known.number:
        raise CommitmentNumberRegression(
            f"local commitment {commitment.number} lies behind {known.number}"
        )
    if known.spends == commitment.spends and known.txid != commitment.txid:
        raise CommitmentMismatch(f"local commitment {known.number} is already {known.txid}")
    unproved = known.per_commitment_point is None and commitment.per_commitment_point is not None
    return unproved or known.spends != commitment.spends


def _keep_elsewhere(hearing: Hearing, funding: Funding, commitment: LocalCommitment) -> None:
    """On a funding that is not mined yet, or that a splice replaced and a reorg may revive."""
    case = hearing.case
    kept = msgspec.structs.replace(funding, local_commitment=commitment)
    hearing.change(splice=case.splice.replacing(kept), retired_fundings=case.retired_with(kept))


def _check_shape(case: Case, commitment: LocalCommitment) -> Funding:
    """The funding that it spends; raises unless tx, txid and number agree."""
    tx = Transaction.parse(commitment.tx)
    if tx.txid() != commitment.txid or len(tx.inputs) != 1:
        raise CommitmentMismatch("tx is not the commitment that its txid names")
    spends = tx.inputs[0].outpoint
    funding = case.funding_at(spends)
    if funding is None:
        raise CommitmentMismatch(
            f"tx spends {spends}, the channel is funded by {case.channel.funding_outpoint}"
        )
    if commitment_number(case.channel, tx) != commitment.number:
        raise CommitmentMismatch(
            f"tx does not carry commitment number {commitment.number} in its locktime and sequence"
        )
    return funding


def _with_funding(case: Case, funding: Funding) -> Case:
    """The case as that funding makes it. Raises OutOfOrder while its capacity is not known."""
    return msgspec.structs.replace(case, channel=case.channel_on(funding))


def _hear_remote(hearing: Hearing, commitment: RemoteCommitment) -> None:
    known = hearing.case.remote_commitments
    if commitment in known:
        return
    points.parse_point(commitment.per_commitment_point)
    check_commitment_numbers(_largest(hearing.case), commitment)
    if any(_differ_in_funding_alone(hearing.case, present, commitment) for present in known):
        return
    if any(present.number == commitment.number for present in known):
        raise CommitmentMismatch(f"remote commitment {commitment.number} is already another one")
    if known and commitment.number < known[-1].number:
        raise CommitmentNumberRegression(
            f"remote commitment {commitment.number} lies behind {known[-1].number}"
        )
    hearing.change(remote_commitments=(*known, commitment))


def _differ_in_funding_alone(case: Case, told: RemoteCommitment, other: RemoteCommitment) -> bool:
    """The same state of an unlocked splice, with the balances of another funding (S3).

    Nothing that is done about the peer's commitment depends on them.
    """
    balances = {"to_local_msat": other.to_local_msat, "to_remote_msat": other.to_remote_msat}
    return len(case.fundings) > 1 and msgspec.structs.replace(told, **balances) == other


def _check_nothing_left_out(before: Case, after: Case) -> None:
    """Raise OutOfOrder where a commitment of the peer is neither told nor revoked by a secret.

    A node that has not kept all of them may tell the newest, with every secret since.
    """
    first, known = before.remote_commitments, after.remote_commitments
    if not known:
        return
    oldest, newest = known[0].number, known[-1].number
    if len(known) > _MOST_UNREVOKED:
        raise OutOfOrder(
            f"three unrevoked commitments of the peer: send the revoked_secret of {oldest} first"
        )
    if newest > oldest + 1:
        raise OutOfOrder(f"remote commitment {newest} came before {oldest + 1}")
    since = first[0].number if first else oldest
    missing = secrets.first_missing(after.revocation_secrets, since, oldest)
    if missing is not None:
        raise OutOfOrder(f"send the revoked_secret of {missing} in the same message")


def _largest(case: Case) -> Channel:
    """The channel on the largest of its fundings: until a splice is locked, which the court can't
    see, the node may tell the peer's commitment with the balances of either.
    """
    capacities = (one.capacity_sat for one in case.fundings if one.capacity_sat is not None)
    return msgspec.structs.replace(case.channel, capacity_sat=max(capacities))


def _hear_secret(hearing: Hearing, revoked: RevokedSecret) -> None:
    case = hearing.case
    index = secrets.secret_index(revoked.number)
    known = case.remote_commitments
    if known and revoked.number < known[0].number:
        _hear_earlier_secret(hearing, revoked)
        return
    if not known or revoked.number != known[0].number:
        raise OutOfOrder(f"no remote commitment {revoked.number} is known that this could revoke")
    if points.public_key(revoked.secret) != known[0].per_commitment_point:
        raise RevocationSecretMismatch(
            f"the secret does not fit the per_commitment_point of commitment {revoked.number}"
        )
    if len(known) == 1:
        raise OutOfOrder(
            f"commitment {revoked.number} is the peer's only one: send the next one first"
        )
    hearing.change(
        revocation_secrets=secrets.insert(case.revocation_secrets, index, revoked.secret),
        remote_commitments=known[1:],
    )
    _remember(hearing, known[0])


def _hear_earlier_secret(hearing: Hearing, revoked: RevokedSecret) -> None:
    """Of a commitment before all that are told: told once more, or one that the court missed.

    A channel was in use when it was opened here. No point is known that the secret could be held
    against, only the secrets that it gives and that give it.
    """
    index, store = secrets.secret_index(revoked.number), hearing.case.revocation_secrets
    if secrets.lookup(store, index) not in (None, revoked.secret):
        raise RevocationSecretMismatch(
            f"commitment {revoked.number} was revoked before by another secret"
        )
    points.public_key(revoked.secret)
    hearing.change(revocation_secrets=secrets.insert(store, index, revoked.secret))


def _remember(hearing: Hearing, revoked: RemoteCommitment) -> None:
    """Only HTLCs with an output can be punished; a commitment without any needs its secret."""
    channel = hearing.case.channel
    kept = tuple(
        htlc
        for htlc in revoked.htlcs
        if not is_trimmed(channel, Side.REMOTE, revoked.feerate_per_kw, htlc)
    )
    if kept:
        hearing.want(RememberRevokedState(revoked.number, kept))


def forget_settled(hearing: Hearing) -> None:
    """Preimages of HTLCs that no commitment holds any more: a busy channel has one a payment.

    Not from a spend of the funding on: what is mined may hold HTLCs that were settled since.
    """
    case = hearing.case
    if case.funding_spend is not None or not case.preimages:
        return
    in_flight = case.payment_hashes
    kept = tuple(known for known in case.preimages if known.payment_hash in in_flight)
    if kept != case.preimages:
        hearing.change(preimages=kept)


def hear_preimage(hearing: Hearing, event: PreimageLearned) -> None:
    """Keep a preimage. Raises LawError when it does not hash to its payment hash."""
    if hashlib.sha256(event.preimage).digest() != bytes(event.payment_hash):
        raise LawError("the preimage does not hash to the payment_hash")
    known = KnownPreimage(event.payment_hash, event.preimage)
    if known not in hearing.case.preimages:
        hearing.change(preimages=(*hearing.case.preimages, known))
