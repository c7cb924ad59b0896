"""Whatever comes in from outside is read, or refused by name: never another exception.

`make fuzz` runs many examples of each target; the suite runs a few. FUZZ_EXAMPLES says how many.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contractcourt.bitcoin.block import parse_header, spends_of, walk
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut, sha256d
from contractcourt.errors import LawError, MalformedBlock, MalformedTransaction
from storage import node_secrets, nodes
from storage.database import Connection, Database
from tests import summary as figures
from tests.contractcourt.bitcoin.test_block import block_of
from tests.contractcourt.bitcoin.test_transaction import VECTORS
from tests.ldk_fixtures import LdkFixture, fixture_names
from tests.security.mutations import damaged, spoiled_json
from tests.security.patient_block import CutShort, read_block, spends_among
from tests.storage.examples import WEBHOOK_SEAL
from tests.workers.gateway.serving import channel_of
from tests.workers.gateway.test_gateway_payloads import GOOD
from workers.gateway import door
from workers.gateway.access import Access
from workers.gateway.app import metrics_of
from workers.gateway.court import Court
from workers.gateway.payloads import parse_webhook
from workers.gateway.problems import Problem, as_problem
from workers.gateway.rates import Rate, Rates
from workers.gateway.signatures import SignedMessage

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
fuzzed = settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
BODIES = [json.dumps(webhook).encode() for webhook in GOOD]


#: Every input of a transaction and a block spends one of these.
OUTPOINTS = [OutPoint(bytes([n]) * 36) for n in range(4)]


def own_blocks() -> list[bytes]:
    """Small blocks with and without witnesses, small and long counts."""
    plain = TxIn(OUTPOINTS[0], b"\x51" * 3)
    signed = TxIn(OUTPOINTS[1], sequence=1, witness=(b"\x30" * 71, b"", b"\x02" * 33))
    outputs = (TxOut(5_000, b"\x00\x14" + bytes(20)), TxOut(0, b""))
    bare = Transaction(1, (plain,), outputs)
    segwit = Transaction(2, (signed, TxIn(OUTPOINTS[2])), outputs, 700_000)
    long = Transaction(2, (TxIn(OUTPOINTS[3], bytes(300)),), (TxOut(1, bytes(260)),) * 2)
    return [block_of(bare), block_of(bare, segwit, long), block_of(*[bare, segwit] * 130)]


def recorded_blocks() -> list[bytes]:
    """The last blocks of each of LDK's regtest chains: closes and sweeps."""
    return [raw for name in fixture_names() for raw in LdkFixture.load(name).blocks()[-3:]]


BLOCKS = own_blocks() + recorded_blocks()
WATCHED = frozenset(OUTPOINTS) | {
    spent for raw in recorded_blocks() for tx in read_block(raw) for spent in tx.spends
}


def show(summary: figures.Summary, target: str, ends: Counter[str]) -> None:
    """How the examples ended; some were good, and some were not."""
    told = ", ".join(f"{number:,} {end}" for end, number in ends.most_common())
    summary(f"fuzzed the {target}: {ends.total():,} examples: {told}")
    assert ends.total() >= EXAMPLES
    assert 0 < ends["read"] < ends.total()


# -- bytes of the chain --


def test_the_transaction_reader_reads_exactly_or_refuses(summary: figures.Summary) -> None:
    ends: Counter[str] = Counter()

    @fuzzed
    @given(damaged(VECTORS) | st.binary(max_size=200))
    def meet(raw: bytes) -> None:
        try:
            tx = Transaction.parse(raw)
        except MalformedTransaction:
            ends["refused"] += 1
            return
        assert tx.serialize() == raw
        assert Transaction.parse(tx.serialize(with_witness=False)).txid() == tx.txid()
        ends["read"] += 1

    meet()
    show(summary, "transaction reader", ends)


def test_the_block_reader_agrees_with_a_patient_one(summary: figures.Summary) -> None:
    """On valid blocks and on spoiled ones: both accept and find the same, or both refuse."""
    ends: Counter[str] = Counter()
    found: set[OutPoint] = set()

    @fuzzed
    @given(damaged(BLOCKS) | st.binary(max_size=200))
    def meet(raw: bytes) -> None:
        try:
            expected = spends_among(raw, WATCHED)
        except CutShort:
            with pytest.raises(MalformedBlock):
                spends_of(raw, WATCHED)
            with pytest.raises(MalformedBlock):
                list(walk(raw)[1])
            ends["refused"] += 1
            return
        assert spends_of(raw, WATCHED) == expected
        assert [(tx.raw, tx.txid(), tx.spends) for tx in walk(raw)[1]] == [
            (tx.raw, tx.txid, tx.spends) for tx in read_block(raw)
        ]
        assert parse_header(raw).hash == sha256d(raw[:80])
        ends["read"] += 1
        found.update(spend.outpoint for spend in expected)

    meet()
    assert found
    show(summary, "block reader", ends)


# -- bytes of a node --


def test_the_webhook_parser_reads_or_refuses_by_name(summary: figures.Summary) -> None:
    ends: Counter[str] = Counter()

    @fuzzed
    @given(damaged(BODIES) | spoiled_json(GOOD) | st.binary(max_size=200))
    def meet(body: bytes) -> None:
        try:
            parse_webhook(body)
        except Problem as problem:
            ends[problem.kind] += 1
        else:
            ends["read"] += 1

    meet()
    show(summary, "webhook parser", ends)


class Forgetful(Database):
    """A database that keeps nothing, so that every example meets the same court."""

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with super().transaction() as conn, conn.transaction(force_rollback=True):
            yield conn


@dataclass(frozen=True)
class Door:
    """A court with one open channel of `alice`, who signs whatever bytes are given."""

    court: Court
    secret: str

    def take(self, body: bytes, message_id: str = "fuzz") -> None:
        """Put the signed body before the door."""
        at = str(int(time.time()))
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        mac = hmac.digest(key, f"{message_id}.{at}.".encode() + body, "sha256")
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }
        door.take(self.court, "alice", SignedMessage.read(headers, body))


@pytest.fixture
def opened_door(db: Database) -> Iterator[Door]:
    """The court has heard the first webhook of `GOOD` and forgets all others."""
    sim = channel_of()
    with db.transaction() as conn:
        nodes.add_node(conn, "alice", [sim.sweep_script], None)
        secret = node_secrets.issue(conn, WEBHOOK_SEAL, "alice")
    plenty = Rates(Rate(1e9, 1e9), Rate(1e9, 1e9))
    with closing(Forgetful(db.url)) as forgetful:
        metrics = metrics_of(db)
        wake, seal = (lambda _: None), WEBHOOK_SEAL
        court = Court(db, Access(), metrics, wake, webhook_seal=seal, rates=plenty)
        Door(court, secret).take(BODIES[0], "first")
        yield Door(replace(court, db=forgetful), secret)


def test_the_door_of_the_docket_takes_or_refuses_by_name(
    summary: figures.Summary, opened_door: Door
) -> None:
    """From signed bytes through the law into Postgres."""
    ends: Counter[str] = Counter()

    @fuzzed
    @given(damaged(BODIES) | spoiled_json(GOOD))
    def meet(body: bytes) -> None:
        try:
            opened_door.take(body)
        except (Problem, LawError) as refused:
            problem = as_problem(refused)
            assert problem.status_code < 500, problem
            ends[problem.kind] += 1
        else:
            ends["read"] += 1

    meet()
    show(summary, "door of the docket", ends)
