"""The scripts of each node's fee wallet, made known by the signer; their keys are its alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contractcourt.units import Script
from storage.database import Connection

PUT_SCRIPTS = """
    INSERT INTO fee_wallet_scripts (node, index, script_pubkey)
    SELECT %(node)s, given.place - 1, given.script_pubkey
    FROM unnest(%(scripts)s::bytea[]) WITH ORDINALITY AS given (script_pubkey, place)
    ON CONFLICT (node, index) DO NOTHING
"""
SCRIPTS = "SELECT node, index, script_pubkey, scanned FROM fee_wallet_scripts ORDER BY node, index"
SCRIPTS_OF = """
    SELECT script_pubkey FROM fee_wallet_scripts WHERE node = %(node)s ORDER BY index
"""
SCAN_AGAIN = "UPDATE fee_wallet_scripts SET scanned = false WHERE scanned"
SCANNED = "UPDATE fee_wallet_scripts SET scanned = true WHERE script_pubkey = ANY(%(scripts)s)"


@dataclass(frozen=True, slots=True)
class WalletScript:
    """One script. `scanned`: coins from before it was known have been looked for."""

    node: str
    index: int
    script_pubkey: Script
    scanned: bool


def put_scripts(conn: Connection, node: str, scripts: Sequence[Script]) -> None:
    """The scripts of a node's wallet, in the order of their index; known ones stay as they are."""
    conn.execute(PUT_SCRIPTS, {"node": node, "scripts": list(scripts)})


def scripts(conn: Connection) -> list[WalletScript]:
    """Those of all nodes."""
    return [
        WalletScript(node, index, Script(script_pubkey), scanned)
        for node, index, script_pubkey, scanned in conn.execute(SCRIPTS)
    ]


def scripts_of(conn: Connection, node: str) -> list[Script]:
    """Those of one node, in the order of their index."""
    return [Script(script) for (script,) in conn.execute(SCRIPTS_OF, {"node": node})]


def scanned(conn: Connection, found_all_of: Sequence[Script]) -> None:
    """All coins of these scripts are stored."""
    conn.execute(SCANNED, {"scripts": list(found_all_of)})


def scan_again(conn: Connection) -> None:
    """The coins of all scripts have to be looked for anew."""
    conn.execute(SCAN_AGAIN)
