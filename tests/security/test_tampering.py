"""Whatever is changed behind the law's back, by whoever may change all, the audit finds it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from contractcourt.arbitrator.overdue import overdue_since
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.case import State
from contractcourt.events import Event, HeightReached, SpendConfirmed
from contractcourt.units import BlockHash, BlockHeight
from storage import cases
from storage.database import Connection, Database
from storage.docket_hashes import GENESIS_HASH, chained_hash
from tasks import arbitration
from tasks.proof import OVERDUE, prove
from tests.scenarios.memory import MemoryCourt
from tests.spent import spent
from tests.tasks.opened import open_channel
from workers.cli import main
from workers.simulation.channel import SimulatedChannel

CLOSED_AT = BlockHeight(200)
#: A superuser who switches every trigger off.
NO_TRIGGERS = "SET LOCAL session_replication_role = replica"


@pytest.fixture
def channel_id(db: Database) -> int:
    """A channel that the peer closed; its outputs wait for their delays."""
    sim, channel = open_channel(db, "tampered with")
    hear(db, channel, "spent", spent_by(sim, sim.their_commitment_tx()))
    hear(db, channel, "deep", HeightReached(BlockHeight(CLOSED_AT + 6)))
    assert prove(db, channel) == []
    return channel


def spent_by(sim: SimulatedChannel, tx: Transaction) -> SpendConfirmed:
    return spent(sim.funding_outpoint, tx, CLOSED_AT)


def hear(db: Database, channel_id: int, key: str, event: Event) -> None:
    with db.transaction() as conn:
        arbitration.apply_at_the_door(conn, channel_id, event, idempotency_key=key, source="chain")


def rehash(conn: Connection, channel_id: int, *, head: bool) -> None:
    """Make the chain of hashes whole again, as a tamperer who knows how would."""
    query = "SELECT seq, idempotency_key, source, payload FROM docket WHERE channel_id = %s"
    last = GENESIS_HASH
    for seq, key, source, payload in conn.execute(f"{query} ORDER BY seq", (channel_id,)):
        last = chained_hash(last, seq, key, source, payload)
        conn.execute(
            "UPDATE docket SET hash = %s WHERE channel_id = %s AND seq = %s",
            (last, channel_id, seq),
        )
    if head:
        conn.execute("UPDATE docket_heads SET last_hash = %s", (last,))


CHANGED = "UPDATE docket SET payload = replace(payload, '206', '207') WHERE payload LIKE '%206%'"


def change_an_entry(conn: Connection, _: int) -> None:
    conn.execute(CHANGED)


def change_who_sent_it(conn: Connection, _: int) -> None:
    conn.execute("UPDATE docket SET source = 'operator' WHERE seq = 2")


def change_and_rehash_all_but_the_head(conn: Connection, channel_id: int) -> None:
    conn.execute(CHANGED)
    rehash(conn, channel_id, head=False)


def change_and_rehash_everything(conn: Connection, channel_id: int) -> None:
    """Every hash is right; only what the law makes of it is another case."""
    conn.execute(CHANGED)
    rehash(conn, channel_id, head=True)


def delete_in_the_middle(conn: Connection, _: int) -> None:
    conn.execute("DELETE FROM docket WHERE seq = 2")


def delete_the_last(conn: Connection, _: int) -> None:
    conn.execute("DELETE FROM docket WHERE seq = (SELECT max(seq) FROM docket)")


def delete_the_last_and_move_the_head(conn: Connection, channel_id: int) -> None:
    delete_the_last(conn, channel_id)
    rehash(conn, channel_id, head=True)
    conn.execute("UPDATE docket_heads SET last_seq = last_seq - 1")


def delete_everything(conn: Connection, _: int) -> None:
    conn.execute("DELETE FROM docket")


def swap_two(conn: Connection, _: int) -> None:
    for now, then in ((2, 999), (3, 2), (999, 3)):
        conn.execute("UPDATE docket SET seq = %s WHERE seq = %s", (then, now))


def add_one(conn: Connection, channel_id: int) -> None:
    conn.execute(
        "INSERT INTO docket (channel_id, seq, idempotency_key, source, kind, payload, hash)"
        " SELECT channel_id, seq + 1, 'mine', source, kind, payload, hash FROM docket"
        " WHERE channel_id = %s ORDER BY seq DESC LIMIT 1",
        (channel_id,),
    )


def change_the_case(conn: Connection, _: int) -> None:
    conn.execute(
        "UPDATE cases SET case_json = replace(case_json, '\"best_height\":206',"
        " '\"best_height\":207')"
    )


def move_the_case_back(conn: Connection, _: int) -> None:
    conn.execute("UPDATE cases SET applied_seq = applied_seq - 1")


def change_the_state(conn: Connection, _: int) -> None:
    conn.execute("UPDATE channels SET state = 'FULLY_RESOLVED'")


def change_a_contract(conn: Connection, _: int) -> None:
    conn.execute("UPDATE contracts SET value_sat = value_sat + 1")


def resolve_a_contract(conn: Connection, _: int) -> None:
    conn.execute("UPDATE contracts SET stage = 'resolved'")


def delete_a_contract(conn: Connection, _: int) -> None:
    conn.execute("DELETE FROM contracts")


def change_the_closing_transaction(conn: Connection, _: int) -> None:
    conn.execute("UPDATE channel_resolutions SET closing_txid = sha256(closing_txid)")


def stop_watching(conn: Connection, _: int) -> None:
    conn.execute("UPDATE watches SET removed_at = clock_timestamp()")


def forget_the_sweeps(conn: Connection, _: int) -> None:
    conn.execute("DELETE FROM sweep_inputs")


TAMPERED: dict[Callable[[Connection, int], None], str] = {
    change_an_entry: "docket",
    change_who_sent_it: "docket",
    change_and_rehash_all_but_the_head: "docket",
    change_and_rehash_everything: "best_height",
    delete_in_the_middle: "docket",
    delete_the_last: "docket",
    delete_the_last_and_move_the_head: "best_height",
    delete_everything: "docket",
    swap_two: "docket",
    add_one: "docket",
    change_the_case: "best_height",
    move_the_case_back: "best_height",
    change_the_state: "channels.state",
    change_a_contract: "contracts",
    resolve_a_contract: "contracts",
    delete_a_contract: "contracts",
    change_the_closing_transaction: "channel_resolutions",
    stop_watching: "watches",
    forget_the_sweeps: "sweep_inputs",
}


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda change: change.__name__)
def test_what_was_tampered_with_is_named(
    db: Database, channel_id: int, tamper: Callable[[Connection, int], None]
) -> None:
    with db.transaction() as conn:
        conn.execute(NO_TRIGGERS)
        tamper(conn, channel_id)
    found = [difference.field.partition(" ")[0] for difference in prove(db, channel_id)]
    assert TAMPERED[tamper] in found


def test_a_commitment_that_will_never_be_sent_is_named(db: Database) -> None:
    _, channel_id = open_channel(db, "never sent")
    with db.transaction() as conn:
        asked = arbitration_request(conn, channel_id)
    hear(db, channel_id, "closing", asked)
    assert prove(db, channel_id) == []
    with db.transaction() as conn:
        conn.execute("UPDATE outbox SET sent_at = clock_timestamp()")
    assert [difference.field for difference in prove(db, channel_id)] == ["broadcasts"]


def arbitration_request(conn: Connection, channel_id: int) -> Event:
    from contractcourt.events import ForceCloseRequested

    assert cases.read(conn, channel_id) is not None
    return ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "")


def test_l1_the_audit_lists_overdue_cases_and_only_those(
    db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Any
) -> None:
    sim, channel_id = open_channel(db, "stuck")
    hear(db, channel_id, "spent", spent_by(sim, sim.cooperative_tx()))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)

    def audit() -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(("audit", "--json"))
        return int(left.value.code or 0), json.loads(capsys.readouterr().out)

    told = {"audited": 1, "overdue": 0, "differences": [], "more": 0}
    move_the_chain_to(db, BlockHeight(CLOSED_AT + 4))
    assert audit() == (0, told)
    move_the_chain_to(db, BlockHeight(CLOSED_AT + 40))
    code, found = audit()
    assert (code, found["overdue"]) == (1, 1)
    assert [difference["field"] for difference in found["differences"]] == [OVERDUE]
    hear(db, channel_id, "deep", HeightReached(BlockHeight(CLOSED_AT + 40)))
    assert audit() == (0, told)


def move_the_chain_to(db: Database, height: BlockHeight) -> None:
    """The watcher's cursor, as if it had followed the chain to there."""
    block = BlockHash(height.to_bytes(32, "big"))
    with db.transaction() as conn:
        conn.execute("INSERT INTO blocks (hash, height) VALUES (%s, %s)", (bytes(block), height))
        conn.execute(
            "INSERT INTO chain_cursor (height, hash) VALUES (%(height)s, %(hash)s)"
            " ON CONFLICT (only_row) DO UPDATE SET height = %(height)s, hash = %(hash)s",
            {"height": height, "hash": bytes(block)},
        )


def test_l1_a_case_that_waits_for_somebody_is_not_overdue() -> None:
    """By the chain in memory: at every height of a close, until it ends."""
    court, sim = MemoryCourt(), SimulatedChannel("not overdue")
    court.begin(sim)
    court.broadcast(sim.their_commitment_tx())
    for _ in range(60):
        court.mine()
        assert overdue_since(court.case, court.height) is None
    assert court.case.state is State.FULLY_RESOLVED
