"""Channels open before a database, without a chain: for what tasks do between two commits."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.codec import encode
from contractcourt.events import (
    ChannelOpened,
    ChannelUpdated,
    PublishOutcome,
    TransactionPublished,
)
from contractcourt.units import Txid
from storage import docket, docket_hashes, nodes
from storage.database import Connection, Database
from tasks import arbitration
from workers.simulation.channel import SimulatedChannel

_CHANGE_CASE = """
    UPDATE cases SET version = version + 1, case_json = replace(case_json, %(was)s, %(is)s)
    WHERE channel_id = %(id)s AND strpos(case_json, %(was)s) > 0
"""
_HEAD = "SELECT last_seq, last_hash FROM docket_heads WHERE channel_id = %(id)s"


def damage_case(conn: Connection, channel_id: int) -> None:
    """Postgres finds the case damaged when it is stored."""
    conn.execute(
        "CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'missing chunk' USING ERRCODE = 'data_corrupted'; END $$"
    )
    conn.execute(
        "CREATE TRIGGER damage BEFORE UPDATE ON cases FOR EACH ROW"
        f" WHEN (NEW.channel_id = {channel_id}) EXECUTE FUNCTION damage()".encode()
    )


def change_case(conn: Connection, channel_id: int, was: str, now: str) -> None:
    """The case as it is stored says this where it said that."""
    facts = {"id": channel_id, "was": was, "is": now}
    assert conn.execute(_CHANGE_CASE, facts).rowcount == 1


def damage_transactions(conn: Connection, channel_id: int) -> None:
    """Those that the case holds are none any more."""
    change_case(conn, channel_id, '"tx":"02000000', '"tx":"02')


def show_unheard_of(conn: Connection, channel_id: int) -> None:
    """The channel is in a state that only a newer version knows."""
    conn.execute("ALTER TABLE channels DROP CONSTRAINT channels_state_check")
    conn.execute("UPDATE channels SET state = 'UNHEARD_OF' WHERE id = %s", [channel_id])


def append_unheard_of(conn: Connection, channel_id: int, outcome: str = '"unheard_of"') -> None:
    """An entry with an outcome that only a newer version knows, beside which this one works on."""
    [(last_seq, last_hash)] = conn.execute(_HEAD, {"id": channel_id}).fetchall()
    event = TransactionPublished(Txid(bytes(32)), PublishOutcome.ACCEPTED, "")
    key, payload = "unheard of", encode(event).decode().replace('"accepted"', outcome)
    facts: dict[str, list[object]] = {
        "channel_ids": [channel_id],
        "seqs": [last_seq + 1],
        "keys": [key],
        "sources": ["chain"],
        "kinds": ["transaction_published"],
        "payloads": [payload],
        "hashes": [docket_hashes.chained_hash(last_hash, last_seq + 1, key, "chain", payload)],
    }
    conn.execute(docket.INSERT_ENTRIES, facts)


def store_unheard_of(db: Database, channel_id: int) -> None:
    """The case has been in a state that only a newer version knows."""
    said = ('"path":["DEFAULT"', '"path":["UNHEARD_OF"')
    db.run(lambda conn: change_case(conn, channel_id, *said))


def open_channel(db: Database, name: str) -> tuple[SimulatedChannel, int]:
    """A channel with both commitments 0 told; its id."""
    digest = Txid(name.encode().ljust(32, b"\0")[:32])
    sim = SimulatedChannel(name).funded(OutPoint.of(digest, 0))
    return sim, open_funded(db, sim)


def open_funded(db: Database, sim: SimulatedChannel) -> int:
    """The same for a channel that has its funding; its id."""

    def work(conn: Connection) -> int:
        if nodes.get_node(conn, sim.node) is None:
            nodes.add_node(conn, sim.node, [sim.sweep_script])
        opened = arbitration.open_channel(
            conn, ChannelOpened(sim.channel), idempotency_key="opened", source="node"
        )
        assert opened is not None
        arbitration.apply_at_the_door(
            conn,
            opened[0],
            ChannelUpdated((sim.first_update(),)),
            idempotency_key="first",
            source="node",
        )
        return opened[0]

    return db.run(work)
