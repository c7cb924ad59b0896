"""Bitcoin Core's script engine as the last check before a publish (promise P9)."""

from __future__ import annotations

import subprocess
import sys

from chain import consensus
from contractcourt.bitcoin.outpoint import OutPoint
from tests.chain.devnet_money import ANYONE, spend

OUTPOINTS = [OutPoint(bytes([n]) * 36) for n in (1, 2)]
SPENT = [(100_000, ANYONE)] * 2


def test_p9_every_input_is_checked() -> None:
    assert consensus.available()
    good = spend(*OUTPOINTS, pays=1_000).serialize()
    assert consensus.verify_transaction(good, SPENT) is None
    bad = spend(*OUTPOINTS, pays=1_000, witness=(b"\x00",)).serialize()
    assert consensus.verify_transaction(bad, SPENT) == "the script of input 0 fails"


def test_p9_the_second_input_counts_as_much_as_the_first() -> None:
    tx = spend(*OUTPOINTS, pays=1_000).serialize()
    other_script = (100_000, b"\x00\x20" + bytes(32))
    assert consensus.verify_transaction(tx, [SPENT[0], other_script]) is not None


def test_p9_what_can_not_be_judged_is_rejected() -> None:
    tx = spend(*OUTPOINTS, pays=1_000).serialize()
    assert consensus.verify_transaction(tx[:-1], SPENT) is not None
    assert consensus.verify_transaction(b"", SPENT) is not None
    assert consensus.verify_transaction(tx, SPENT[:1]) == (
        "2 inputs, but 1 spent outputs were given"
    )


def test_the_court_runs_without_the_engine() -> None:
    """In an interpreter that can't find it."""
    without = (
        "import sys; sys.modules['pbk'] = None\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'pbk' else real(name, *a)\n"
        "from chain import consensus; import chain.bitcoin_core\n"
        "raise SystemExit(consensus.available())"
    )
    assert subprocess.run([sys.executable, "-c", without], check=False).returncode == 0
