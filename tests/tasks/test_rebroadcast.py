"""What is not settled is sent again, however much there is of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from contractcourt.events import PublishOutcome
from contractcourt.units import FeeratePerKw, HexBytes, Satoshi, WeightUnits
from storage import broadcasts
from storage.broadcasts import Broadcast
from storage.database import Database
from storage.signed import Price, Signed, store
from tasks import rebroadcast
from tasks.resources import Resources
from tests.storage.examples import txid
from tests.tasks.opened import open_channel

_PRICE = Price(Satoshi(100), WeightUnits(400), FeeratePerKw(250))


def test_whoever_runs_out_of_time_goes_on_with_what_was_not_reached(
    db: Database, cut_off: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of ours are open at once when thousands of channels close, a page takes a while."""
    _, channel_id = open_channel(db, "one of thousands")
    for number in range(3):
        purpose = broadcasts.HTLC_TRANSACTION
        one = Signed(channel_id, purpose, txid(50 + number), HexBytes(b"raw"), [], _PRICE)
        with db.transaction() as conn:
            store(conn, one)
    sent: list[int] = []

    def send(held: Resources, page: Sequence[Broadcast]) -> None:
        answers = [(each.id, PublishOutcome.ACCEPTED, "") for each in page]
        held.db.run(lambda conn: broadcasts.record_attempts(conn, answers))
        sent.extend(each.id for each in page)
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(rebroadcast, "send", send)
    monkeypatch.setattr(rebroadcast, "_PAGE", 1)
    for _ in range(3):
        with pytest.raises(SoftTimeLimitExceeded):
            rebroadcast.rebroadcast(cut_off)
    assert len(set(sent)) == 3
