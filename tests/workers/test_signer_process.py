"""The signer as its own process, spoken to over HTTP as tasks do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx2
import msgspec
import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.codec import encode
from contractcourt.signing import (
    MAX_BODY_BYTES,
    RefusalReason,
    SignedTransaction,
    SigningAnswer,
    SigningProblem,
    SigningRequest,
)
from contractcourt.units import HexBytes, Script
from storage import nodes
from storage.database import Database
from storage.seal import create_seal_key
from tasks.signer_client import (
    SignerClient,
    SignerFailed,
    SignerKeysMissing,
    SignerNotReady,
    SignerRefused,
    SignerUnavailable,
)
from tests.conftest import free_port
from tests.workers.ldk_signing import Recording

TOKEN = "a-token-for-this-test"
ROOT = Path(__file__).parents[2]


@dataclass
class RunningSigner:
    """One signer process, restartable, with its log."""

    environment: dict[str, str]
    url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.signer"],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
            )
        give_up_at = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                raise AssertionError(self.log.read_text())
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/healthz", trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None


@pytest.fixture
def signer(database_url: str, tmp_path: Path) -> Iterator[RunningSigner]:
    port = free_port()
    create_seal_key(tmp_path / "seal.key")
    environment = {
        "DATABASE_URL": database_url,
        "CONTRACTCOURT_NETWORK": "regtest",
        "CONTRACTCOURT_DATA_DIR": str(tmp_path),
        "CONTRACTCOURT_SIGNER_PORT": str(port),
        "CONTRACTCOURT_SIGNER_TOKEN": TOKEN,
        "CONTRACTCOURT_SEAL_KEY_FILE": str(tmp_path / "seal.key"),
    }
    running = RunningSigner(environment, f"http://127.0.0.1:{port}", tmp_path / "signer.log")
    running.start()
    yield running
    running.stop(signal.SIGKILL)


@pytest.fixture
def client(signer: RunningSigner) -> Iterator[SignerClient]:
    with SignerClient(signer.url, TOKEN) as opened:
        yield opened


@pytest.fixture
def recording() -> Recording:
    return Recording("anchors_2_local_close")


def allowed_sweep(db: Database, recording: Recording) -> tuple[SigningRequest, Transaction]:
    """A sweep as LDK signed it, to scripts that its node allows."""
    sweep, by_ldk = recording.our_spends()[-1]
    with db.transaction() as conn:
        nodes.add_node(conn, "alice", [Script(o.script_pubkey) for o in by_ldk.outputs])
    return sweep, by_ldk


def test_a_force_close_and_its_sweep_are_signed_over_http(
    signer: RunningSigner, client: SignerClient, db: Database, recording: Recording
) -> None:
    sweep, by_ldk = allowed_sweep(db, recording)
    commitments = [commitment for commitment, _ in recording.local_commitments()]
    last = recording.commitment_request(commitments[-1])

    with pytest.raises(SignerKeysMissing, match="keys"):
        client.sign(last)
    document = json.dumps(recording.key_document).encode()
    assert client.import_keys(document) == f"channel {recording.channel.channel_point}"
    signed = client.sign(last)
    assert signed.txid == commitments[-1].txid == Transaction.parse(signed.tx).txid()
    point = client.local_point(recording.channel, 1)
    assert point == recording.keys.per_commitment_point(1)
    assert client.sign(sweep).txid == by_ldk.txid()

    # Killed without notice, it still knows what it signed.
    signer.stop(signal.SIGKILL)
    with pytest.raises(SignerUnavailable):
        client.sign(last)
    signer.start()
    with pytest.raises(SignerRefused) as refused:
        client.sign(recording.commitment_request(commitments[0]))
    assert refused.value.reason == RefusalReason.SECOND_COMMITMENT
    assert client.sign(last).txid == signed.txid

    signer.stop()
    log = signer.log.read_text()
    assert "second-commitment" in log
    assert_tells_nothing(log, recording)


def test_many_are_signed_in_one_call_and_each_has_its_own_answer(
    signer: RunningSigner, client: SignerClient, db: Database, recording: Recording
) -> None:
    sweep, by_ldk = allowed_sweep(db, recording)
    commitments = [commitment for commitment, _ in recording.local_commitments()]
    last, before = (recording.commitment_request(commitments[n]) for n in (-1, 0))
    stranger = Recording("static_2_local_close").our_spends()[-1][0]
    client.import_keys(json.dumps(recording.key_document).encode())
    assert client.sign_many([]) == []
    first, second, missing, swept = client.sign_many([last, before, stranger, sweep])
    assert isinstance(first, SignedTransaction)
    assert first.txid == commitments[-1].txid
    assert isinstance(second, SignerRefused)
    assert second.reason == RefusalReason.SECOND_COMMITMENT
    assert isinstance(missing, SignerKeysMissing)
    assert isinstance(swept, SignedTransaction)
    assert swept.txid == by_ldk.txid()

    # More than one body holds, and one that no body holds among them: a round whose every sweep
    # comes with the largest transactions that nodes relay.
    parent = Transaction(2, (TxIn(OutPoint(bytes(36))),), (TxOut(0, bytes(99_900)),))
    fat = HexBytes(parent.serialize())
    heavy = msgspec.structs.replace(sweep, parents=(fat,) * 5)
    many = [heavy] * 20
    assert sum(len(encode(one)) for one in many) > MAX_BODY_BYTES
    too_large = msgspec.structs.replace(sweep, tx=HexBytes(bytes(MAX_BODY_BYTES)))
    *answers, refused = client.sign_many([*many, too_large])
    assert answers == [swept] * len(many)
    assert isinstance(refused, SignerRefused)
    assert refused.reason == "body-too-large"
    # One that can't be read spoils nothing for the others.
    unreadable = msgspec.structs.replace(sweep, purpose="charity")
    good, bad = client.sign_many([sweep, unreadable])
    assert good == swept
    assert isinstance(bad, SignerRefused)
    assert bad.reason == "malformed-request"

    # What is not shown this time may be shown the next: no final refusal.
    good, unproved = client.sign_many([sweep, twice(sweep)])
    assert good == swept
    assert isinstance(unproved, SignerFailed)
    assert "unproved-value" in str(unproved)

    signer.stop()
    assert signer.log.read_text().count(str(swept.txid)) == len(many) + 3
    assert [type(answer) for answer in client.sign_many([sweep] * 2)] == [SignerUnavailable] * 2


def twice(sweep: SigningRequest) -> SigningRequest:
    """The same with another output of the same kind, and nothing that shows what it is worth."""
    [spent] = sweep.inputs
    assert spent.contract is not None
    place = OutPoint.of(spent.outpoint.txid, spent.outpoint.vout + 1)
    contract = msgspec.structs.replace(spent.contract, outpoint=place)
    other = msgspec.structs.replace(spent, outpoint=place, contract=contract)
    tx = Transaction.parse(sweep.tx)
    inputs = (*tx.inputs, replace(tx.inputs[0], outpoint=place))
    both = HexBytes(replace(tx, inputs=inputs).serialize())
    return msgspec.structs.replace(sweep, tx=both, inputs=(spent, other))


class _Door(BaseHTTPRequestHandler):
    """Where a signer is expected."""

    def asked(self) -> bytes:
        """The body of the call."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def client_of(door: type[_Door]) -> Iterator[SignerClient]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with (
        closing(server.socket),
        SignerClient(f"http://127.0.0.1:{server.server_port}", TOKEN) as one,
    ):
        try:
            yield one
        finally:
            server.shutdown()


class _FrailDoor(_Door):
    """Before a signer: it breaks down at every call that holds a certain transaction."""

    signer_url = ""
    deadly = b""
    calls: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = self.asked()
        self.calls.append(len(body))
        if self.deadly in body:
            self.close_connection = True
            return
        headers = {"Authorization": self.headers["Authorization"]}
        url = self.signer_url + self.path
        answer = httpx2.post(url, content=body, headers=headers, trust_env=False)
        self.answer(answer.status_code, answer.content)


def test_one_request_that_brings_the_signer_down_holds_up_none_before_it(
    signer: RunningSigner, client: SignerClient, db: Database, recording: Recording
) -> None:
    sweep, _ = allowed_sweep(db, recording)
    client.import_keys(json.dumps(recording.key_document).encode())
    deadly = Recording("static_2_local_close").our_spends()[-1][0]
    _FrailDoor.signer_url, _FrailDoor.deadly = signer.url, str(deadly.tx).encode()
    with client_of(_FrailDoor) as frail:
        asked = [sweep, sweep, deadly, sweep]
        assert [type(answer) for answer in frail.sign_many(asked)] == [SignerUnavailable] * 4
        assert len(_FrailDoor.calls) == 1
        answers = frail.sign_many(asked)
        assert [type(a) for a in answers] == [SignedTransaction] * 2 + [SignerUnavailable] * 2
        assert len(_FrailDoor.calls) == 4


class _Miscounting(_Door):
    """No signer: it has one answer to any number of questions."""

    def do_POST(self) -> None:
        self.asked()
        problem = SigningProblem("about:blank", 422, "no")
        self.answer(HTTPStatus.OK, encode([SigningAnswer(problem=problem)]))


def test_whoever_answers_less_or_more_than_was_asked_is_no_signer() -> None:
    request = Recording("static_2_local_close").our_spends()[-1][0]
    with client_of(_Miscounting) as one:
        (refused,) = one.sign_many([request])
        assert isinstance(refused, SignerRefused)
        answers = one.sign_many([request, request])
        assert [type(answer) for answer in answers] == [SignerUnavailable] * 2


class _Between(_Door):
    """A proxy that does not let the call through."""

    status = HTTPStatus.FORBIDDEN
    words = b""

    def do_POST(self) -> None:
        self.asked()
        self.answer(self.status, self.words)


@pytest.mark.parametrize("status", [302, 403, 404, 413, 429, 502, 503])
@pytest.mark.parametrize(
    "words", [b"<html>no</html>", encode(SigningProblem("about:blank", 403, "busy"))]
)
def test_what_a_proxy_answers_is_no_refusal_of_the_signer(status: int, words: bytes) -> None:
    """A refusal sets a sweep aside until somebody releases it."""
    recording = Recording("static_2_local_close")
    request = recording.our_spends()[-1][0]
    _Between.status, _Between.words = HTTPStatus(status), words
    with client_of(_Between) as one:
        with pytest.raises(SignerNotReady, match=str(status)):
            one.sign(request)
        with pytest.raises(SignerNotReady, match=str(status)):
            one.local_point(recording.channel, 0)
        answers = one.sign_many([request, request])
    assert all(isinstance(answer, SignerNotReady) for answer in answers)


class _NoSigner(_Door):
    """It answers well, but no signed transaction."""

    def do_POST(self) -> None:
        self.asked()
        self.answer(HTTPStatus.OK, b'{"tx":5,"txid":null,"per_commitment_point":6}')


def test_what_is_no_signers_answer_is_said_to_be_none() -> None:
    recording = Recording("static_2_local_close")
    with client_of(_NoSigner) as one:
        with pytest.raises(SignerUnavailable, match="not a signer's"):
            one.sign(recording.our_spends()[-1][0])
        with pytest.raises(SignerUnavailable, match="not a signer's"):
            one.local_point(recording.channel, 0)


def test_hostile_calls_are_refused_and_tell_nothing(
    signer: RunningSigner, client: SignerClient, recording: Recording
) -> None:
    document = json.dumps(recording.key_document).encode()
    short = document.replace(recording.secrets["payment_key"].encode(), b"5ec4e7")
    with pytest.raises(SignerRefused) as refused:
        client.import_keys(short)
    assert refused.value.reason == "malformed-key-document"
    client.import_keys(document)
    foreign = {
        **Recording("static_2_local_close").key_document,
        "channel_point": recording.key_document["channel_point"],
    }
    with pytest.raises(SignerRefused) as refused:
        client.import_keys(json.dumps(foreign).encode())
    assert refused.value.reason == "foreign-key-document"
    with pytest.raises(SignerRefused) as refused:
        client.import_keys(b" " * (MAX_BODY_BYTES + 1))
    assert refused.value.reason == "body-too-large"
    with pytest.raises(SignerUnavailable, match="token"):
        SignerClient(signer.url, TOKEN + "x").import_keys(document)

    headers = {"Authorization": f"Bearer {TOKEN}"}
    request = encode(recording.our_spends()[-1][0])
    with httpx2.Client(base_url=signer.url, headers=headers, trust_env=False) as raw:
        for path in ("/v1/sign", "/v1/sign-many", "/v1/points", "/v1/keys"):
            wrong_kind = request.replace(b'"tx":"', b'"tx":5,"no":"')
            bodies = (
                b"",
                b"[" * 200_000,
                b"\xff",
                b"{}",
                b'{"channel":1}',
                request[:-9],
                wrong_kind,
            )
            for body in bodies:
                answer = raw.post(path, content=body)
                assert answer.status_code == 400
                problem = answer.json()
                assert problem["status"] == 400
                assert problem["type"].startswith("urn:contractcourt:signer:malformed")
            assert raw.get(path).status_code == 405
        assert raw.post("/v1/sign", content=request).status_code == 404
        for name in ("", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}\u00e9"):
            wrong = {b"authorization": name.encode()}
            assert raw.post("/v1/points", content=b"{}", headers=wrong).status_code == 401

    signer.stop()
    log = signer.log.read_text()
    assert_tells_nothing(log, recording)
    assert "5ec4e7" not in log
    assert "Traceback" not in log


def assert_tells_nothing(log: str, recording: Recording) -> None:
    """No secret of ours, in any part a reader could use, stands in the log."""
    for name, secret in recording.key_document.items():
        if name != "channel_point":
            assert secret not in log
    assert TOKEN not in log


def test_it_does_not_start_without_its_seal_key(signer: RunningSigner) -> None:
    signer.stop()
    signer.environment["CONTRACTCOURT_SEAL_KEY_FILE"] = "nowhere"
    with pytest.raises(AssertionError, match="CONTRACTCOURT_SEAL_KEY_FILE"):
        signer.start()


def test_it_does_not_start_with_another_seal_key_than_the_vaults(
    signer: RunningSigner, client: SignerClient, recording: Recording, tmp_path: Path
) -> None:
    """It would take keys that nobody could open any more once the right key is back."""
    create_seal_key(tmp_path / "other.key")
    client.import_keys(json.dumps(recording.key_document).encode())
    signer.stop()
    signer.environment["CONTRACTCOURT_SEAL_KEY_FILE"] = str(tmp_path / "other.key")
    with pytest.raises(AssertionError, match="not the seal key it was sealed with"):
        signer.start()


@pytest.mark.parametrize("listed", ["0014", "nonsense", "6a04deadbeef", ","])
def test_it_does_not_start_with_a_list_of_scripts_that_is_none(
    signer: RunningSigner, listed: str
) -> None:
    signer.stop()
    signer.environment["CONTRACTCOURT_SIGNER_SWEEP_SCRIPTS"] = listed
    with pytest.raises(AssertionError, match="CONTRACTCOURT_SIGNER_SWEEP_SCRIPTS is no list"):
        signer.start()


def test_it_pays_the_scripts_of_its_settings_alone(
    signer: RunningSigner, client: SignerClient, db: Database, recording: Recording
) -> None:
    sweep, by_ldk = allowed_sweep(db, recording)
    client.import_keys(json.dumps(recording.key_document).encode())
    ours = ", ".join(output.script_pubkey.hex() for output in by_ldk.outputs)
    for listed in ("0014" + "66" * 20, f"0014{'66' * 20}, {ours}"):
        signer.stop()
        signer.environment["CONTRACTCOURT_SIGNER_SWEEP_SCRIPTS"] = listed
        signer.start()
        if ours in listed:
            assert client.sign(sweep).txid == by_ldk.txid()
        else:
            with pytest.raises(SignerRefused, match="foreign-output"):
                client.sign(sweep)
