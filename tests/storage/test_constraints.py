"""Try to break the promises by raw SQL: the schema itself must refuse."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from contractcourt.case import State
from contractcourt.contract import ContractStage
from contractcourt.units import BlockHeight
from storage import cases, channels, contracts, docket_hashes
from storage.database import Connection, Database
from tests.storage import examples
from tests.storage.blocked import wait_for_a_blocked_session

CLOSED = ("CONTRACT_CLOSED", "WAITING_FULL_RESOLUTION", "FULLY_RESOLVED")


def state_of(db: Database, channel_id: int) -> str:
    with db.transaction() as conn:
        return channels.by_ids(conn, [channel_id])[0].state


def close(conn: Connection, channel_id: int) -> None:
    channels.mark_closed_many(conn, [(channel_id, examples.closed())])
    examples.set_state(conn, channel_id, State.CONTRACT_CLOSED)


def resolve(conn: Connection, channel_id: int) -> None:
    channels.mark_fully_resolved_many(conn, [(channel_id, BlockHeight(300))])
    examples.set_state(conn, channel_id, State.FULLY_RESOLVED)


@pytest.mark.parametrize("state", CLOSED)
def test_p2_closed_without_resolutions_cannot_be_committed(
    db: Database, channel_id: int, state: str
) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation), db.transaction() as conn:
        conn.execute("UPDATE channels SET state = %s WHERE id = %s", (state, channel_id))
    assert state_of(db, channel_id) == State.DEFAULT


def test_p2_resolutions_of_a_closed_channel_cannot_be_deleted(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        close(conn, channel_id)
    with pytest.raises(psycopg.errors.ForeignKeyViolation), db.transaction() as conn:
        conn.execute("DELETE FROM channel_resolutions")
    assert state_of(db, channel_id) == State.CONTRACT_CLOSED


def test_p2_resolutions_without_a_close_cannot_be_committed(db: Database, channel_id: int) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
        conn.execute(
            """
            INSERT INTO channel_resolutions
                (channel_id, close_kind, closing_txid, closed_height, resolutions)
            VALUES (%s, 'local', sha256(''), 100, '[]')
            """,
            (channel_id,),
        )
    assert state_of(db, channel_id) == State.DEFAULT


def test_p2_a_close_cannot_be_taken_back_beside_its_resolutions(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        close(conn, channel_id)
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
        conn.execute("UPDATE channels SET state = 'DEFAULT'")


def test_fully_resolved_needs_its_height(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        close(conn, channel_id)
    with pytest.raises(psycopg.errors.ForeignKeyViolation), db.transaction() as conn:
        conn.execute("UPDATE channels SET state = 'FULLY_RESOLVED'")


def test_fully_resolved_with_an_unresolved_contract_cannot_be_committed(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        close(conn, channel_id)
        contracts.replace(conn, channel_id, (examples.contract(5),))
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
        resolve(conn, channel_id)
    with db.transaction() as conn:
        resolve(conn, channel_id)
        conn.execute("UPDATE contracts SET stage = 'resolved'")
    assert state_of(db, channel_id) == State.FULLY_RESOLVED


def test_a_fully_resolved_channel_takes_no_unresolved_contract(
    db: Database, channel_id: int
) -> None:
    resolved = examples.contract(5, ContractStage.RESOLVED)
    with db.transaction() as conn:
        close(conn, channel_id)
        contracts.replace(conn, channel_id, (resolved,))
        resolve(conn, channel_id)
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
        conn.execute("UPDATE contracts SET stage = 'spent'")
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
        contracts.replace(conn, channel_id, (resolved, examples.contract(6)))


def test_marks_may_come_before_or_after_the_state(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        conn.execute("UPDATE channels SET state = 'FULLY_RESOLVED'")
        channels.mark_closed_many(conn, [(channel_id, examples.closed())])
        channels.mark_fully_resolved_many(conn, [(channel_id, BlockHeight(300))])
    assert state_of(db, channel_id) == State.FULLY_RESOLVED
    with db.transaction() as conn:
        conn.execute("UPDATE channels SET state = 'COMMITMENT_BROADCASTED'")
        channels.mark_unresolved(conn, channel_id)
        channels.mark_reopened(conn, channel_id)
    assert state_of(db, channel_id) == State.COMMITMENT_BROADCASTED


def test_an_unknown_state_is_refused(db: Database, channel_id: int) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
        conn.execute("UPDATE channels SET state = 'CLOSED' WHERE id = %s", (channel_id,))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE docket SET payload = '{}'",
        "DELETE FROM docket",
        "DELETE FROM docket WHERE false",
        "TRUNCATE docket",
        "UPDATE docket_heads SET last_seq = 0",
        "DELETE FROM docket_heads",
    ],
)
def test_p1_the_docket_is_append_only(db: Database, channel_id: int, statement: str) -> None:
    with (
        pytest.raises(psycopg.errors.IntegrityConstraintViolation),
        db.transaction() as conn,
    ):
        conn.execute(statement)
    with db.transaction() as conn:
        assert docket_hashes.verify(conn, channel_id) == 1


@pytest.mark.parametrize("seqs", [(3,), (1,), (2, 4), (4, 5), (-1,)])
def test_p1_a_docket_takes_no_gap_and_no_repeat(
    db: Database, channel_id: int, seqs: tuple[int, ...]
) -> None:
    with pytest.raises(psycopg.errors.IntegrityError), db.transaction() as conn:
        conn.execute(
            """
            INSERT INTO docket (channel_id, seq, idempotency_key, source, kind, payload, hash)
            SELECT %s, seq, 'raw-' || seq, 'chain', 'height_reached', '{}', sha256('')
            FROM unnest(%s::bigint[]) AS seq
            """,
            (channel_id, list(seqs)),
        )


@pytest.mark.parametrize(
    ("column", "value"), [("idempotency_key", ""), ("source", "rumour"), ("kind", "gossip")]
)
def test_a_docket_entry_is_well_formed(
    db: Database, channel_id: int, column: str, value: str
) -> None:
    row = {"idempotency_key": "k", "source": "chain", "kind": "height_reached", column: value}
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
        conn.execute(
            """
            INSERT INTO docket (channel_id, seq, idempotency_key, source, kind, payload, hash)
            VALUES (%(channel_id)s, 2, %(idempotency_key)s, %(source)s, %(kind)s, '{}',
                    sha256(''))
            """,
            {"channel_id": channel_id, **row},
        )


@pytest.mark.parametrize(
    "change",
    [
        "applied_seq = 0, version = version + 1",
        "applied_seq = 2, version = version + 1",
        "applied_seq = 1",
        "version = version + 2",
    ],
)
def test_p1_a_case_applies_each_entry_once(db: Database, channel_id: int, change: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
        conn.execute(f"UPDATE cases SET {change} WHERE channel_id = {channel_id}")


_AGAIN = {
    "cases": "INSERT INTO cases (channel_id, case_json, applied_seq) VALUES (%s, '{}', 0)",
    "docket_heads": "INSERT INTO docket_heads (channel_id) VALUES (%s)",
}


@pytest.mark.parametrize("table", _AGAIN)
def test_p4_a_channel_has_one_case_and_one_docket(
    db: Database, channel_id: int, table: str
) -> None:
    with db.transaction() as conn:
        cases.store(conn, cases.lock_one(conn, channel_id))
    with pytest.raises(psycopg.errors.UniqueViolation), db.transaction() as conn:
        conn.execute(_AGAIN[table], (channel_id,))


def test_p4_of_two_first_cases_stored_at_once_the_second_is_refused(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        conn.execute("DELETE FROM cases")

    def insert_second() -> None:
        with db.transaction() as conn:
            conn.execute(_AGAIN["cases"], (channel_id,))

    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as conn:
            conn.execute(_AGAIN["cases"], (channel_id,))
            conn.execute("UPDATE cases SET version = version + 1")
            second = pool.submit(insert_second)
            wait_for_a_blocked_session(conn)
        with pytest.raises(psycopg.errors.UniqueViolation):
            second.result()


def test_p3_a_second_open_force_close_is_refused(db: Database, channel_id: int) -> None:
    insert = """
        INSERT INTO force_closes (channel_id, idempotency_key, requested_by, reason)
        SELECT %s, key, 'operator', '' FROM unnest(%s::text[]) AS key
    """
    with pytest.raises(psycopg.errors.UniqueViolation), db.transaction() as conn:
        conn.execute(insert, (channel_id, ["one", "two"]))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE signed_commitments SET txid = sha256('')", "DELETE FROM signed_commitments"],
)
def test_p3_a_signed_commitment_is_never_forgotten(db: Database, statement: str) -> None:
    with (
        pytest.raises(psycopg.errors.IntegrityConstraintViolation),
        db.transaction() as conn,
    ):
        conn.execute(statement)


def test_an_outpoint_has_one_spend_on_the_best_chain(db: Database, channel_id: int) -> None:
    insert = """
        INSERT INTO spends (channel_id, outpoint, txid, raw_tx, height, block_hash)
        SELECT %s, %s, hash, '\\x00', 1, hash FROM unnest(%s::bytea[]) AS hash
    """
    hashes = [bytes([number]) * 32 for number in (1, 2)]
    with pytest.raises(psycopg.errors.UniqueViolation), db.transaction() as conn:
        conn.execute(insert, (channel_id, examples.outpoint(1), hashes))
