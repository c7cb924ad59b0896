"""What a process claims for a while: never shared, never given back by another (users_ask P5)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.errors import ChainUnavailable
from contractcourt.effects import NotifyNode
from contractcourt.units import BlockHash, BlockHeight
from storage import blocks, lease, outbox, sweep_rounds
from storage.database import Connection, Database
from storage.sweep_rounds import Claim
from tasks import errands, sweep
from tasks.crash_points import CrashPoint
from tasks.environment import load_settings
from tasks.resources import Resources
from tasks.signer_client import SignerClient
from tasks.way import Way
from tests.conftest import free_port
from tests.tasks.opened import open_channel
from workers.watcher.leadership import Leadership

_NODE = "alice"
_NOWHERE = "http://user:password@127.0.0.1"
_NO_BROKER = "redis://127.0.0.1:9"


def _begin(conn: Connection, seconds: float = 60.0) -> Claim | None:
    return sweep_rounds.begin(conn, _NODE, uuid4(), seconds)


@pytest.fixture
def asked(db: Database) -> Database:
    """One node, for which one round is asked."""
    open_channel(db, "claims")
    db.run(lambda conn: sweep_rounds.ask(conn, [_NODE]))
    return db


def test_p5_one_round_is_one_process_s_and_nobody_waits_for_it(asked: Database) -> None:
    with asked.transaction() as conn:
        first = _begin(conn)
    with asked.transaction() as conn:
        assert first is not None
        assert _begin(conn) is None
        assert sweep_rounds.waiting(conn) == []
        assert sweep_rounds.end(conn, first) is False
        assert _begin(conn) is None


def test_p5_whoever_was_paused_past_its_claim_ends_nothing(asked: Database) -> None:
    with asked.transaction() as conn:
        paused = _begin(conn, seconds=0.0)
    with asked.transaction() as conn:
        present = _begin(conn)
        assert paused is not None
        assert present is not None
        assert sweep_rounds.end(conn, paused) is False
        sweep_rounds.give_back(conn, paused)
        # Still the other's, and still to be done.
        assert _begin(conn) is None
        sweep_rounds.give_back(conn, present)
        assert sweep_rounds.waiting(conn) == [_NODE]


def test_p5_a_claim_whose_commit_was_answered_too_late_is_taken_again(asked: Database) -> None:
    claim_id = uuid4()
    taken = [
        asked.run(lambda conn: sweep_rounds.begin(conn, _NODE, claim_id, 60.0)) for _ in range(2)
    ]
    facts = [None if claim is None else (claim.node, claim.id, claim.asked) for claim in taken]
    assert facts == [(_NODE, claim_id, 1)] * 2


def test_p5_a_round_that_fails_is_free_again_at_once(asked: Database) -> None:
    settings = load_settings(from_endpoints=False)
    asked.run(lambda conn: blocks.init_cursor(conn, BlockHeight(7), BlockHash(bytes(32))))
    with (
        closing(BitcoinCore(f"{_NOWHERE}:{free_port()}")) as chain,
        closing(SignerClient(f"{_NOWHERE}:{free_port()}", "a token that is long")) as signer,
    ):
        held = Resources(0, settings, asked, chain, signer, Way(_NO_BROKER))
        with pytest.raises(ChainUnavailable):
            sweep.sweep_node(held, _NODE)
    with asked.transaction() as conn:
        assert sweep_rounds.waiting(conn) == [_NODE]


def test_p5_two_processes_of_one_host_and_pid_never_share_the_lease(db: Database) -> None:
    one, other = Leadership(db, 60.0), Leadership(db, 60.0)
    epoch = one.lead()
    assert epoch is not None
    assert other.lead() is None
    assert one.lead() == epoch
    one.stand_down()
    later = other.lead()
    assert later is not None
    assert later > epoch
    with db.transaction() as conn:
        held = lease.read(conn, lease.CHAIN_WATCHER)
    assert held is not None
    assert (held.epoch, held.live) == (later, True)


def test_p5_an_outbox_row_is_held_by_nobody_who_could_die_with_it(db: Database) -> None:
    """A row is read, carried out, then marked: taken up again by anybody at any time."""
    _, channel_id = open_channel(db, "outbox")
    row_id = db.run(
        lambda conn: outbox.put_many(conn, [(channel_id, NotifyNode("channel.closing", {}))])[0]
    )
    with closing(BitcoinCore(f"{_NOWHERE}:{free_port()}")) as chain:
        signer = SignerClient(f"{_NOWHERE}:{free_port()}", "a token that is long")
        held = Resources(0, load_settings(from_endpoints=False), db, chain, signer, Way(_NO_BROKER))
        taken = [errands.take(held, [row_id], "notify_node") for _ in range(2)]
        signer.close()
    assert [[row.id for row, _ in found] for found in taken] == [[row_id], [row_id]]


def test_the_page_on_faults_names_every_step() -> None:
    page = (Path(__file__).parents[2] / "docs/explanation/faults.md").read_text()
    assert [point for point in CrashPoint if f"`{point.value}`" not in page] == []
