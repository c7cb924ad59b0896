"""Tallies: counts that are kept in the commit that changes what they count (users_ask C15).

Most are written by triggers (`migrations/versions/v0015_tallies.py`). Rows are only inserted, so
that no writer waits for another; whoever reads adds up what is there.
"""

from __future__ import annotations

from storage.database import Connection

ADD = """
    INSERT INTO tallies (name, label, amount) VALUES (%(name)s, %(label)s, %(amount)s)
"""
#: One statement: a reader sees the parts or their sum, never both and never neither.
FOLD = """
    WITH parts AS (
        DELETE FROM tallies WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM tallies LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
        RETURNING name, label, amount
    )
    INSERT INTO tallies (name, label, amount)
    SELECT name, label, sum(amount) FROM parts GROUP BY name, label
"""
READ = "SELECT name, label, sum(amount) FROM tallies GROUP BY name, label"

#: Folded at once; the rest is left to the next round.
_MOST_FOLDED = 100_000


def add(conn: Connection, name: str, label: str = "", amount: float = 1) -> None:
    """Count something that no table shows."""
    if amount:
        conn.execute(ADD, {"name": name, "label": label, "amount": amount})


def fold(conn: Connection) -> None:
    """Make many rows few; harmless beside writers, readers and another one who folds."""
    conn.execute(FOLD, {"limit": _MOST_FOLDED})
