"""The scripts of fee wallets, by node and in the order in which change goes to them."""

from __future__ import annotations

from contractcourt.units import Script
from storage import fee_wallets, nodes
from storage.database import Database
from tests.storage import examples


def test_a_round_reads_the_scripts_of_its_own_node_in_order(db: Database) -> None:
    """With a thousand nodes, those of all would be read a thousand times with each block."""
    ours, theirs = (
        [Script(bytes([0, 20, first]) + bytes([n]) * 19) for n in (2, 1, 0)] for first in (1, 2)
    )
    with db.transaction() as conn:
        examples.add_node(conn)
        nodes.add_node(conn, "bob", [examples.SWEEP_SCRIPT])
        fee_wallets.put_scripts(conn, "bob", theirs)
        fee_wallets.put_scripts(conn, examples.NODE, ours)
        assert fee_wallets.scripts_of(conn, examples.NODE) == ours
        assert fee_wallets.scripts_of(conn, "carol") == []
        assert {one.script_pubkey for one in fee_wallets.scripts(conn)} == {*ours, *theirs}
