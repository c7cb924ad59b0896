"""Nodes, channels and contracts."""

from __future__ import annotations

import base64

import psycopg
import pytest

from contractcourt.case import State
from contractcourt.contract import ContractStage, Spend
from contractcourt.effects import CloseKind
from contractcourt.units import BlockHeight
from storage import channels, contracts, node_secrets, nodes
from storage.database import Database
from storage.errors import NodeExists, UnknownNode, WrongSealKey
from tasks.webhook_key import seal_under
from tests.storage import examples
from tests.storage.examples import SWEEP_SCRIPT, WEBHOOK_SEAL, block_hash, outpoint, txid


class TestNodes:
    def test_registered_with_a_standard_webhooks_secret(self, db: Database) -> None:
        with db.transaction() as conn:
            nodes.add_node(conn, "alice", [SWEEP_SCRIPT], "https://alice.example/hook")
            secret = node_secrets.issue(conn, WEBHOOK_SEAL, "alice")
            assert node_secrets.valid(conn, WEBHOOK_SEAL, "alice") == (secret,)
            found = nodes.get_node(conn, "alice")
            assert nodes.get_node(conn, "bob") is None
        assert found is not None
        assert found.sweep_scripts == (SWEEP_SCRIPT,)
        prefix, _, key = secret.partition("_")
        assert prefix == "whsec"
        assert len(base64.b64decode(key, validate=True)) == 32

    def test_a_name_is_taken_once_and_written_plainly(self, db: Database) -> None:
        with db.transaction() as conn:
            nodes.add_node(conn, "alice", [SWEEP_SCRIPT])
            with pytest.raises(NodeExists):
                nodes.add_node(conn, "alice", [SWEEP_SCRIPT])
            nodes.add_node(conn, "bob", [SWEEP_SCRIPT])
            assert [node.name for node in nodes.list_nodes(conn)] == ["alice", "bob"]
        for name in ("", "../alice", "a b", "x" * 65):
            with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
                nodes.add_node(conn, name, [SWEEP_SCRIPT])
        with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
            nodes.add_node(conn, "carol", [])

    def test_old_secrets_stay_valid_for_the_overlap(self, db: Database) -> None:
        with db.transaction() as conn:
            nodes.add_node(conn, "alice", [SWEEP_SCRIPT])
            first = node_secrets.issue(conn, WEBHOOK_SEAL, "alice")
            second = node_secrets.rotate(conn, WEBHOOK_SEAL, "alice", 3600)
            assert node_secrets.valid(conn, WEBHOOK_SEAL, "alice") == (second, first)
            third = node_secrets.rotate(conn, WEBHOOK_SEAL, "alice", 0)
            assert node_secrets.valid(conn, WEBHOOK_SEAL, "alice") == (third, first)
            assert node_secrets.counts(conn) == {"alice": 2}
            with pytest.raises(UnknownNode):
                node_secrets.rotate(conn, WEBHOOK_SEAL, "bob", 0)

    def test_the_database_alone_does_not_give_a_secret(self, db: Database) -> None:
        with db.transaction() as conn:
            nodes.add_node(conn, "alice", [SWEEP_SCRIPT])
            nodes.add_node(conn, "bob", [SWEEP_SCRIPT])
            secret = node_secrets.issue(conn, WEBHOOK_SEAL, "alice")
            dumped = str(conn.execute("SELECT secret, sealed FROM node_secrets").fetchall())
            assert secret not in dumped
            assert secret.removeprefix("whsec_") not in dumped
            with pytest.raises(WrongSealKey):
                node_secrets.valid(conn, seal_under("somebody else's key"), "alice")
            conn.execute("UPDATE node_secrets SET node = 'bob'")
            with pytest.raises(WrongSealKey):
                node_secrets.valid(conn, WEBHOOK_SEAL, "bob")

    def test_a_plain_secret_of_before_is_read_and_then_sealed(self, db: Database) -> None:
        plain = "INSERT INTO node_secrets (node, secret) VALUES ('alice', 'whsec_b2xk')"
        with db.transaction() as conn:
            nodes.add_node(conn, "alice", [SWEEP_SCRIPT])
            conn.execute(plain)
            assert node_secrets.valid(conn, WEBHOOK_SEAL, "alice") == ("whsec_b2xk",)
            assert node_secrets.seal_plain(conn, WEBHOOK_SEAL) == 1
            assert node_secrets.seal_plain(conn, WEBHOOK_SEAL) == 0
            assert node_secrets.valid(conn, WEBHOOK_SEAL, "alice") == ("whsec_b2xk",)
            rows = conn.execute("SELECT secret FROM node_secrets").fetchall()
        assert rows == [(None,)]


class TestChannels:
    def test_registered_once(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            assert channels.register(conn, examples.channel(1)) is None
            found = channels.find(conn, outpoint(1))
            assert channels.find(conn, outpoint(2)) is None
        assert found is not None
        assert (found.id, found.state, found.applied_seq, found.last_seq) == (
            channel_id,
            State.DEFAULT,
            1,
            1,
        )

    def test_of_a_known_node_only(self, db: Database, channel_id: int) -> None:
        with pytest.raises(UnknownNode), db.transaction() as conn:
            channels.register(conn, examples.channel(2, node="mallory"))
        with db.transaction() as conn:
            assert [row.id for row in channels.list_channels(conn)] == [channel_id]

    def test_listed_by_page_state_and_node(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            others = [examples.open_channel(conn, number) for number in (2, 3)]
            channels.mark_closed_many(conn, [(others[0], examples.closed())])
            examples.set_state(conn, others[0], State.CONTRACT_CLOSED)
            ids = [channel_id, *others]
            assert [row.id for row in channels.list_channels(conn, limit=2)] == ids[:2]
            assert [row.id for row in channels.list_channels(conn, after=ids[1])] == ids[2:]
            closed = channels.list_channels(conn, state=State.CONTRACT_CLOSED)
            assert [row.id for row in closed] == [others[0]]
            assert channels.list_channels(conn, node="mallory") == []

    def test_a_close_and_its_taking_back(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            channels.mark_closed_many(conn, [(channel_id, examples.closed(examples.contract(5)))])
            channels.mark_fully_resolved_many(conn, [(channel_id, BlockHeight(300))])
            row = channels.by_ids(conn, [channel_id])[0]
            assert (row.close_kind, row.closing_txid) == (CloseKind.LOCAL, txid(9))
            assert (row.closed_height, row.fully_resolved_height) == (106, 300)
            channels.mark_unresolved(conn, channel_id)
            row = channels.by_ids(conn, [channel_id])[0]
            assert (row.closed_height, row.fully_resolved_height) == (106, None)
            channels.mark_reopened(conn, channel_id)
            row = channels.by_ids(conn, [channel_id])[0]
            assert (row.closed_height, row.closing_txid) == (None, None)


class TestContracts:
    def test_replaced_as_a_whole(self, db: Database, channel_id: int) -> None:
        spend = Spend(txid(7), BlockHeight(250), block_hash(250))
        with db.transaction() as conn:
            other = examples.open_channel(conn, 2)
            contracts.replace(conn, other, (examples.contract(8),))
            contracts.replace(conn, channel_id, (examples.contract(5), examples.contract(6)))
            contracts.replace(conn, channel_id, (examples.contract(6, ContractStage.SPENT, spend),))
            found = contracts.list_for(conn, channel_id)
            assert [(row.outpoint, row.stage) for row in found] == [
                (outpoint(6), ContractStage.SPENT)
            ]
            assert (found[0].spend_txid, found[0].spend_height) == (txid(7), 250)
            contracts.replace(conn, channel_id, ())
            assert contracts.list_for(conn, channel_id) == []
            assert len(contracts.list_for(conn, other)) == 1
