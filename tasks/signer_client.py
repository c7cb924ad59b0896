"""The court's way to the signer: one HTTP call for a signature, a point or an import.

A refusal is final and is stored with the effect that asked; a signer that is away is asked again
later. No request or answer is logged here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx2
import msgspec

from contractcourt.channel import Channel, LocalCommitment
from contractcourt.codec import MalformedRecord, decode, encode
from contractcourt.errors import ContractCourtError
from contractcourt.signing import (
    MAX_BODY_BYTES,
    PROBLEM_TYPE,
    PointAnswer,
    PointRequest,
    SignedTransaction,
    SigningAnswer,
    SigningProblem,
    SigningRequest,
)
from contractcourt.units import PublicKey

T = TypeVar("T")

#: A request with its JSON.
_Written = tuple[SigningRequest, bytes]

#: After many were lost together.
_CAUTIOUS_SECONDS = 600.0

_NOT_A_SIGNERS = "the answer is not a signer's: check the signer's URL"
_UNAUTHORISED = 401
_NOT_FOUND = 404
_SERVER_ERROR = 500


class SignerCallFailed(ContractCourtError):
    """The signer gave no signature."""


class SignerRefused(SignerCallFailed):
    """The signer refuses, and asking again will not help.

    `reason` is the stable name of the refusal: a `RefusalReason` of `contractcourt.signing`, or
    one of the server's own names such as `malformed-key-document`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"the signer refuses ({reason}): {detail}")
        self.reason = reason
        self.detail = detail


class SignerNotReady(SignerCallFailed):
    """The signer can't do this now; ask again later."""


class SignerKeysMissing(SignerNotReady):
    """The signer has no keys for this channel: run `contractcourt keys import FILE`."""


class SignerUnavailable(SignerNotReady):
    """The signer did not answer."""


class SignerFailed(SignerNotReady):
    """The signer answered that it could not do this; it is there for others."""


class _Imported(msgspec.Struct):
    imported: str


class SignerClient:
    """Speaks to one signer. Use it in one process only; close it, or use it as a context.

    Args:
        url: where the signer listens, such as `http://127.0.0.1:8090`.
        token: its bearer token.
        timeout_seconds: for one whole step of a call (connect, send, receive).
    """

    def __init__(self, url: str, token: str, *, timeout_seconds: float = 10.0) -> None:
        self._client = httpx2.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            timeout=timeout_seconds,
            # The signer is ours and near: no proxy of the environment may see its traffic.
            trust_env=False,
        )
        self._one_at_a_time_until = 0.0

    def sign(self, request: SigningRequest) -> SignedTransaction:
        """The signed transaction.

        Raises:
            SignerRefused, SignerKeysMissing, SignerFailed, SignerUnavailable.
        """
        return _read(self._post("/v1/sign", encode(request)), SignedTransaction)

    def sign_many(
        self, requests: Sequence[SigningRequest]
    ) -> list[SignedTransaction | SignerCallFailed]:
        """For each request its signed transaction, or what `sign` would raise for it.

        After a signer went away in the midst of many they go one at a time for a while: one that
        brings it down holds up those behind it alone.
        """
        most = 1 if time.monotonic() < self._one_at_a_time_until else len(requests)
        answers: list[SignedTransaction | SignerCallFailed] = []
        for together in _of_one_body([(one, encode(one)) for one in requests], most):
            try:
                answers += self._sign_these(together)
            except SignerUnavailable as away:
                if len(together) > 1:
                    self._one_at_a_time_until = time.monotonic() + _CAUTIOUS_SECONDS
                return answers + [away] * (len(requests) - len(answers))
        return answers

    def _sign_these(
        self, together: Sequence[_Written]
    ) -> list[SignedTransaction | SignerCallFailed]:
        body = b"[" + b",".join(body for _, body in together) + b"]"
        try:
            answers = _read(self._post("/v1/sign-many", body), list[SigningAnswer])
        except (SignerRefused, SignerFailed):
            # Nothing is signed: one that can't be read, or that the signer fails at, must not
            # stand for the others.
            return [self._sign_this(request) for request, _ in together]
        if len(answers) != len(together):
            raise SignerUnavailable(_NOT_A_SIGNERS)
        return [_outcome(answer) for answer in answers]

    def _sign_this(self, request: SigningRequest) -> SignedTransaction | SignerCallFailed:
        try:
            return self.sign(request)
        except SignerUnavailable:
            raise
        except SignerCallFailed as failed:
            return failed

    def local_point(
        self, channel: Channel, number: int, commitment: LocalCommitment | None = None
    ) -> PublicKey:
        """Our per-commitment point of commitment `number`.

        Args:
            commitment: any commitment of ours, if known; see `PointRequest`.

        Raises:
            SignerRefused, SignerKeysMissing, SignerFailed, SignerUnavailable.
        """
        body = encode(PointRequest(channel, number, commitment))
        return _read(self._post("/v1/points", body), PointAnswer).per_commitment_point

    def import_keys(self, document: bytes) -> str:
        """Hand over a key document as it stands in its file; returns what was imported.

        Raises:
            SignerRefused, SignerFailed, SignerUnavailable.
        """
        return _read(self._post("/v1/keys", document), _Imported).imported

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _post(self, path: str, body: bytes) -> bytes:
        try:
            response = self._client.post(path, content=body)
        except httpx2.HTTPError as error:
            raise SignerUnavailable(
                f"the signer did not answer ({type(error).__name__}): is it running?"
            ) from None
        if response.is_success:
            return response.content
        if response.status_code == _UNAUTHORISED:
            raise SignerUnavailable(
                "the signer does not take our token: check CONTRACTCOURT_SIGNER_TOKEN on both sides"
            )
        raise _failed(response.status_code, response.content)


def _of_one_body(requests: Sequence[_Written], most: int) -> Iterator[list[_Written]]:
    """Requests that fit into one body together, at most so many, in their order."""
    together: list[_Written] = []
    size = 2
    for request, body in requests:
        if together and (len(together) == most or size + len(body) > MAX_BODY_BYTES):
            yield together
            together, size = [], 2
        together.append((request, body))
        size += len(body) + 1
    if together:
        yield together


def _outcome(answer: SigningAnswer) -> SignedTransaction | SignerCallFailed:
    if answer.signed is not None:
        return answer.signed
    if answer.problem is None:
        raise SignerUnavailable(_NOT_A_SIGNERS)
    failure = _failure(answer.problem)
    if isinstance(failure, SignerUnavailable):
        raise failure
    return failure


def _failure(problem: SigningProblem) -> SignerCallFailed:
    name = problem.type.rpartition(":")[2]
    if problem.status == _NOT_FOUND and name == "keys-missing":
        return SignerKeysMissing(problem.detail)
    if problem.status >= _SERVER_ERROR:
        kind = SignerFailed if problem.status == _SERVER_ERROR else SignerUnavailable
        return kind(f"the signer failed ({name}): {problem.detail}")
    return SignerRefused(name, problem.detail)


def _failed(status: int, body: bytes) -> SignerCallFailed:
    """What an answer that is no success means; of a proxy in between it is no refusal."""
    try:
        problem = decode(body, SigningProblem)
    except MalformedRecord:
        problem = SigningProblem("about:blank", status, "")
    if problem.type.startswith(PROBLEM_TYPE):
        return _failure(problem)
    words = f"the signer was not reached (status {status}): {_NOT_A_SIGNERS}"
    return SignerUnavailable(words) if status > _SERVER_ERROR else SignerFailed(words)


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return decode(body, kind)
    except MalformedRecord:
        raise SignerUnavailable(_NOT_A_SIGNERS) from None
