"""What Prometheus is told is what the tables hold, in every snapshot (users_ask C15)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from uuid import uuid4

from contractcourt.alarms import AlarmKind
from contractcourt.case import State
from contractcourt.effects import SweepOutput
from contractcourt.events import PublishOutcome
from contractcourt.policy import Policy
from contractcourt.units import BlockHeight, FeeratePerKw, HexBytes, Satoshi, WeightUnits
from storage import (
    alarms,
    at_risk,
    blocks,
    broadcasts,
    cases,
    census,
    deadlines,
    docket,
    lease,
    sweep_inputs,
    tallies,
)
from storage.census import Census
from storage.database import Connection, Database
from storage.docket import NewEntry
from storage.signed import Price, Signed, SpentInput, store
from storage.sweep_inputs import Wish
from tasks.reserve import RESERVE
from tests.storage import examples
from tests.storage.examples import outpoint, txid
from tests.storage.plans import plan

PRICE = Price(Satoshi(100), WeightUnits(400), FeeratePerKw(250))
_IN_TABLES = """
    SELECT (SELECT count(*) FROM docket_history),
           (SELECT count(*) FROM docket_history) - (SELECT count(*) FROM unapplied)
"""


def counted(conn: Connection) -> Census:
    return census.count(conn, RESERVE)


def in_tables(conn: Connection) -> tuple[int, int]:
    """Docket entries, and how many of them are applied."""
    [[entries, applied]] = conn.execute(_IN_TABLES).fetchall()
    return int(entries), int(applied)


def told(seen: Census) -> tuple[int, int]:
    return sum(seen.docket_entries.values()), sum(seen.applied_within.values())


def apply_all(conn: Connection, channel_id: int) -> None:
    stored = cases.lock_one(conn, channel_id)
    for entry in docket.pending(conn, {channel_id: stored.applied_seq}, 1000):
        stored = replace(stored, applied_seq=entry.seq)
    cases.store(conn, stored)


def heights(channel_id: int, first: int, last: int) -> list[NewEntry]:
    return [NewEntry(channel_id, examples.height(h), f"h{h}", "chain") for h in range(first, last)]


def test_entries_and_applied_ones_are_the_dockets(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        docket.append_many(conn, heights(channel_id, 1, 30))
        docket.append_many(conn, heights(channel_id, 20, 40))  # some of them twice
    with db.transaction() as conn:
        assert told(counted(conn)) == in_tables(conn) == (40, 0 + in_tables(conn)[1])
        apply_all(conn, channel_id)
    with db.transaction() as conn:
        seen = counted(conn)
        assert told(seen) == in_tables(conn) == (40, 40)
        assert seen.docket_entries == {"channel_opened": 1, "height_reached": 39}
        assert seen.unapplied == 0
        assert seen.applied_after_seconds > 0


def test_what_is_rolled_back_is_not_counted(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        before = told(counted(conn))

    class Killed(Exception):
        pass

    try:
        with db.transaction() as conn:
            docket.append_many(conn, heights(channel_id, 1, 30))
            apply_all(conn, channel_id)
            raise Killed
    except Killed:
        pass
    with db.transaction() as conn:
        assert told(counted(conn)) == before == in_tables(conn)


def test_channels_by_state_follow_every_move(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        for number in range(2, 12):
            examples.open_channel(conn, number)
        assert counted(conn).channels == {"DEFAULT": 11}
        conn.execute("UPDATE channels SET state = 'BROADCAST_COMMIT' WHERE id % 2 = 0")
        shown: dict[str, int] = dict(
            conn.execute("SELECT state, count(*) FROM channels GROUP BY state")
        )
        assert counted(conn).channels == shown
        conn.execute("UPDATE channels SET state = 'DEFAULT'")
        assert counted(conn).channels == {State.DEFAULT.value: 11}
        del channel_id


def test_broadcasts_by_outcome_and_alarms(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        sent = [
            store(
                conn,
                Signed(
                    channel_id,
                    "commitment",
                    txid(100 + n),
                    HexBytes(b"\x02"),
                    [SpentInput(outpoint(n), channel_id, Satoshi(100))],
                    PRICE,
                ),
            )
            for n in range(3)
        ]
        assert counted(conn).broadcasts == {"none": 3}
        for _ in range(3):
            broadcasts.record_attempts(conn, [(sent[0].id, PublishOutcome.ACCEPTED, "")])
        broadcasts.record_attempts(conn, [(sent[1].id, PublishOutcome.FEE_TOO_LOW, "low")])
        conn.execute("UPDATE broadcasts SET state = 'confirmed' WHERE id = %s", (sent[0].id,))
        seen = counted(conn)
        assert seen.broadcasts == {"fee_too_low": 1, "none": 1}
        assert seen.broadcasts_settled == {"confirmed": 1}
        alarms.raise_alarm(conn, channel_id, AlarmKind.BREACH, "a thief")
        alarms.clear_kind(conn, channel_id, AlarmKind.BREACH)
        alarms.raise_alarm(conn, channel_id, AlarmKind.BREACH, "a thief")
        assert counted(conn).alarms_raised == {"breach": 2}
        assert counted(conn).alarms == {"breach": 1}


def test_folding_changes_no_sum_and_leaves_few_rows(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        for h in range(50):
            docket.append_many(conn, heights(channel_id, h, h + 1))
        before = counted(conn)
        tallies.fold(conn)
        after = counted(conn)
        [[rows]] = conn.execute("SELECT count(*) FROM tallies").fetchall()
        [[names]] = conn.execute("SELECT count(DISTINCT (name, label)) FROM tallies").fetchall()
    assert after.docket_entries == before.docket_entries
    assert rows == names


def test_a_reader_sees_the_right_sum_while_others_write_and_fold(
    db: Database, channel_id: int
) -> None:
    ended = Event()

    def write(channel: int) -> None:
        for h in range(60):
            db.run(lambda conn, h=h: docket.append_many(conn, heights(channel, h, h + 1)))  # type: ignore[misc]

    def fold() -> None:
        while not ended.is_set():
            db.run(tallies.fold)

    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, channel) for channel in (channel_id, other)]
        folders = [pool.submit(fold) for _ in range(2)]
        last = 0
        while not all(writer.done() for writer in writers):
            with db.transaction() as conn:
                conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                now = told(counted(conn))
                assert now == in_tables(conn)
            assert now[0] >= last
            last = now[0]
        ended.set()
        for done in (*writers, *folders):
            done.result()
    with db.transaction() as conn:
        assert told(counted(conn))[0] == in_tables(conn)[0] == 122


def test_a_sweep_that_is_not_mined_in_time_is_at_risk_as_on_the_desk(
    db: Database, channel_id: int
) -> None:
    """Else the alert of a passed deadline stays silent for all that is won after a close."""
    with db.transaction() as conn:
        blocks.init_cursor(conn, BlockHeight(800), examples.block_hash(800))
        wanted = SweepOutput(examples.contract(1), examples.SWEEP_SCRIPT, deadline=BlockHeight(803))
        sweep_inputs.want(conn, [(channel_id, Wish(examples.channel(1), wanted, Policy()))])
        [stake] = at_risk.most_pressing(conn, 10)
        [due] = deadlines.nearest(conn)
        assert (due.height, due.value_at_risk_sat) == (stake.height, stake.value_sat)
        assert (stake.height, stake.value_sat) == (803, 500_000)
        assert counted(conn).at_risk_sat == {"0": 0, "6": 500_000, "144": 500_000}
        conn.execute("UPDATE chain_cursor SET height = 803")
        assert counted(conn).at_risk_sat["0"] == 500_000


def test_a_court_that_no_watcher_ever_led_says_so(db: Database) -> None:
    """A series that is missing makes no alert fire, least of all on the first day."""
    with db.transaction() as conn:
        assert counted(conn).watcher_leads == 0
        holder = uuid4()
        assert lease.acquire(conn, lease.CHAIN_WATCHER, holder, 60) == 1
        assert counted(conn).watcher_leads == 1
        lease.release(conn, lease.CHAIN_WATCHER, holder, 1)
        assert counted(conn).watcher_leads == 0


def test_a_scrape_reads_no_table_that_grows_with_the_channels(db: Database) -> None:
    """Postgres' own plan: of large tables only an index, and of that a bounded part."""
    with db.transaction() as conn:
        facts = {
            "most": 10, "horizons": [0], **at_risk.REASONS, **RESERVE.facts,
        }  # fmt: skip
        found = plan(conn, census.CENSUS, facts)
    for table in ("docket", "cases", "contracts", "watches", "broadcasts", "channel_resolutions"):
        assert f" on {table}" not in found, found
    for table in ("channels", "deadlines", "sweep_inputs", "spends", "outbox", "fee_wallet_coins"):
        assert f"Seq Scan on {table}" not in found, found
