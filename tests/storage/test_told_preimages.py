"""A preimage and its HTLC never miss each other, whoever of the two is told first."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from contractcourt.case import Case
from contractcourt.channel import Direction, Htlc
from contractcourt.units import PaymentHash, Secret
from storage import htlc_index, told_preimages
from storage.database import Connection, Database
from tests.storage import examples
from tests.storage.blocked import wait_for_a_blocked_session
from workers.simulation.channel import SimulatedChannel

_SIM = SimulatedChannel("told preimages").funded(examples.outpoint(1))
_HTLC: Htlc = _SIM.htlc(1, Direction.RECEIVED, 20_000_000, 700)
_HASH: PaymentHash = _HTLC.payment_hash
_PREIMAGE: Secret = _SIM.preimage(1)
_MOVE = _SIM.whole_move(0, _HTLC)
_ASKED = (examples.NODE, _HASH)


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def case_with_the_htlc() -> Case:
    [ours] = [step.local_commitment for step in _MOVE if step.local_commitment is not None]
    return Case(_SIM.channel, local_commitment=ours)


def remember(db: Database) -> None:
    db.run(lambda conn: told_preimages.remember(conn, examples.NODE, _HASH, _PREIMAGE))


def hold(conn: Connection, channel_id: int) -> dict[tuple[str, PaymentHash], Secret]:
    """Tell of the HTLC; what was told of its preimage."""
    new = htlc_index.replace(conn, channel_id, case_with_the_htlc())
    return told_preimages.recall(conn, [(examples.NODE, told) for told in new])


def test_who_tells_a_preimage_waits_for_who_is_just_telling_of_its_htlc(
    db: Database, channel_id: int, aside: ThreadPoolExecutor
) -> None:
    with db.transaction() as conn:
        assert hold(conn, channel_id) == {}
        telling = aside.submit(remember, db)
        wait_for_a_blocked_session(conn)
    telling.result()
    with db.transaction() as conn:
        assert list(htlc_index.channels_with(conn, examples.NODE, _HASH)) == [channel_id]


def test_who_tells_of_an_htlc_waits_for_who_is_just_telling_its_preimage(
    db: Database, channel_id: int, aside: ThreadPoolExecutor
) -> None:
    with db.transaction() as conn:
        told_preimages.remember(conn, examples.NODE, _HASH, _PREIMAGE)
        telling = aside.submit(db.run, lambda conn: hold(conn, channel_id))
        wait_for_a_blocked_session(conn)
    assert telling.result() == {_ASKED: _PREIMAGE}


def test_htlcs_of_one_preimage_do_not_wait_for_each_other(db: Database, channel_id: int) -> None:
    with db.transaction() as conn, db.transaction() as other:
        second = examples.open_channel(other, 2)
        assert hold(conn, channel_id) == hold(other, second) == {}


def test_a_preimage_is_its_node_s_own(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        examples.add_node(conn, "bob")
        told_preimages.remember(conn, "bob", _HASH, _PREIMAGE)
        assert hold(conn, channel_id) == {}


def test_what_a_channel_holds_already_is_not_new_to_it(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        assert htlc_index.replace(conn, channel_id, case_with_the_htlc()) == [_HASH]
        assert htlc_index.replace(conn, channel_id, case_with_the_htlc()) == []
