"""Every refusal of Core 29 to 32 has a meaning, and an unseen one is no end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.bitcoin_core import BitcoinCore
from chain.refusals import outcome_of
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.events import PublishOutcome
from contractcourt.units import Txid
from tests.chain.recorded_node import RELEASES, RecordedNode, answers_of

REFUSALS = [
    pytest.param(release, code, message, meaning, id=f"{release}-{message[:40]}")
    for release in RELEASES
    for code, message, meaning in answers_of(release)["refusals"]
]


@pytest.mark.parametrize(("release", "code", "message", "meaning"), REFUSALS)
def test_l5_every_recorded_refusal_has_an_outcome(
    release: int, code: int, message: str, meaning: str
) -> None:
    assert release in RELEASES
    assert outcome_of(code, message) is PublishOutcome(meaning)


@pytest.mark.parametrize("release", RELEASES)
def test_l5_each_release_shows_every_outcome_but_acceptance(release: int) -> None:
    meanings = {meaning for _, _, meaning in answers_of(release)["refusals"]}
    assert meanings == set(PublishOutcome) - {PublishOutcome.ACCEPTED}


@given(st.integers(-100, -28), st.text(max_size=60))
def test_l5_an_unseen_reason_is_unknown_and_never_an_error(code: int, text: str) -> None:
    assert outcome_of(code, f"~{text}") is PublishOutcome.UNKNOWN


@given(st.sampled_from(["dust", "version", "coinbase", "insufficient fee", "non-final"]))
def test_l5_details_never_decide(word: str) -> None:
    assert outcome_of(-26, f"a-new-reason, {word}") is PublishOutcome.UNKNOWN
    assert outcome_of(-26, f"mempool full, {word}") is PublishOutcome.FEE_TOO_LOW


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("package RBF failed: insufficient anti-DoS fees", PublishOutcome.DOUBLE_SPEND),
        ("package RBF failed: package must be 1-parent-1-child", PublishOutcome.DOUBLE_SPEND),
        ("transaction failed", PublishOutcome.MISSING_INPUTS),
    ],
)
def test_b7_what_is_said_of_a_package_is_said_of_the_child_that_was_not_come_to(
    message: str, meaning: PublishOutcome
) -> None:
    pays = (TxOut(1_000, bytes(22)),)
    parent = Transaction(2, (TxIn(OutPoint.of(Txid(bytes(32)), 0)),), pays, 0)
    child = Transaction(2, (TxIn(OutPoint.of(parent.txid(), 0)),), pays, 0)
    not_come_to = {"txid": str(child.txid()), "error": "package-not-validated"}
    told = {"package_msg": message, "tx-results": {"wtxid": not_come_to}}
    with RecordedNode() as node:
        node.say["submitpackage"] = json.dumps(told)
        chain = BitcoinCore(node.url)
        answer = chain.submit_package([parent.serialize(), child.serialize()])[1]
        chain.close()
    assert (answer.outcome, answer.reason) == (meaning, message)


def test_l5_the_code_of_a_mined_transaction_tells_enough() -> None:
    assert outcome_of(-27, "in other words") is PublishOutcome.ALREADY_KNOWN


def test_l5_the_nodes_own_words_are_kept() -> None:
    message = "a-reason-of-a-release-to-come, with details"
    with RecordedNode() as node:
        node.say["sendrawtransaction"] = json.dumps({"code": -26, "message": message})
        chain = BitcoinCore(node.url)
        answer = chain.send(b"\x00")
        chain.close()
    assert (answer.outcome, answer.reason) == (PublishOutcome.UNKNOWN, message)
