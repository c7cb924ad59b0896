"""`channel.updated` as the law's event: our commitments normalised, our own points filled in."""

from __future__ import annotations

import time

import msgspec
import structlog

from contractcourt.case import Case
from contractcourt.channel import LocalCommitment, RemoteCommitment
from contractcourt.errors import UnsupportedChannelType
from contractcourt.events import ChannelUpdate, ChannelUpdated
from tasks.signer_client import SignerCallFailed
from workers.gateway.court import Court
from workers.gateway.local_commitment import normalise
from workers.gateway.parts import RemoteCommitmentData
from workers.gateway.payloads import ChannelUpdatedData, UpdateStep

_log = structlog.get_logger()
#: For all points of one message; the last question may take longer.
_SIGNER_SECONDS = 2.0


def event_of(court: Court, case: Case, data: ChannelUpdatedData) -> ChannelUpdated:
    """What the law shall hear of these steps.

    Our per-commitment points are asked of the signer where the node sent none. While the signer
    is away or slow, or has no keys, they stay unknown: the law asks again when it needs them.

    Raises:
        LawError: a transaction or signature of ours is wrong.
    """
    if not case.channel.known_type:
        raise UnsupportedChannelType(
            f"a {case.channel.channel_type} channel is only watched: send no updates of it"
        )
    points = _Points(court, case)
    # The newest first, for that is what may be published.
    newest_first = [_step(step, case, points) for step in reversed(data.steps)]
    return ChannelUpdated(tuple(reversed(newest_first)), forgets=True)


def _step(step: UpdateStep, case: Case, points: _Points) -> ChannelUpdate:
    local, revoked = step.local_commitment, step.revoked_secret
    return ChannelUpdate(
        local_commitment=None if local is None else points.fill(normalise(local, case)),
        remote_commitment=_remote(step.remote_commitment),
        remote_pending_commitment=_remote(step.remote_pending_commitment),
        revoked_secret=None if revoked is None else revoked.to_revoked(),
    )


def _remote(data: RemoteCommitmentData | None) -> RemoteCommitment | None:
    return None if data is None else data.to_commitment()


class _Points:
    """Our per-commitment points, for as long as the signer answers and a webhook may wait."""

    def __init__(self, court: Court, case: Case) -> None:
        self._ends_at = time.monotonic() + _SIGNER_SECONDS
        self._signer = court.signer
        self._channel = case.channel

    def fill(self, commitment: LocalCommitment) -> LocalCommitment:
        """The commitment with its point, if there is one to be had."""
        if commitment.per_commitment_point is not None or self._signer is None:
            return commitment
        if time.monotonic() > self._ends_at:
            return commitment
        try:
            point = self._signer.local_point(self._channel, commitment.number, commitment)
        except SignerCallFailed as error:
            # One failure speaks for the rest of this message; a webhook must not wait in line.
            self._signer = None
            _log.warning("local_point_unknown", error=type(error).__name__, detail=str(error))
            return commitment
        return msgspec.structs.replace(commitment, per_commitment_point=point)
