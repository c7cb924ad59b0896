"""Rounds of sweeping: one for a node at a time, and none asked for is forgotten.

Two rounds at once would do no harm, since outputs and coins are locked when a broadcast is
stored; they would only sign in vain.
"""

from __future__ import annotations

from collections.abc import Iterable

from storage.database import Connection

ASK = """
    INSERT INTO sweep_rounds AS r (node, asked)
    SELECT node, 1 FROM unnest(%(nodes)s::text[]) AS given (node)
    ON CONFLICT (node) DO UPDATE SET asked = r.asked + 1
"""
ASK_ALL = """
    INSERT INTO sweep_rounds AS r (node, asked)
    SELECT n.name, 1 FROM nodes AS n
    WHERE EXISTS (SELECT 1 FROM sweep_inputs AS w WHERE w.node = n.name AND w.state = 'wanted')
       OR EXISTS (SELECT 1 FROM broadcasts AS b
                  WHERE b.node = n.name AND b.state = 'open' AND b.purpose IN ('sweep', 'bump'))
    ON CONFLICT (node) DO UPDATE SET asked = r.asked + 1
"""
BEGIN = """
    UPDATE sweep_rounds
    SET busy_until = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE node = %(node)s AND done < asked
      AND (busy_until IS NULL OR busy_until < clock_timestamp())
    RETURNING asked
"""
END = """
    UPDATE sweep_rounds
    SET busy_until = NULL, done = greatest(done, %(asked)s)
    WHERE node = %(node)s
    RETURNING done < asked
"""
WAITING = """
    SELECT node FROM sweep_rounds
    WHERE done < asked AND (busy_until IS NULL OR busy_until < clock_timestamp())
    ORDER BY node
"""


def ask(conn: Connection, nodes: Iterable[str]) -> None:
    """Something has changed for these nodes: a round shall follow."""
    wanted = sorted(set(nodes))
    if wanted:
        conn.execute(ASK, {"nodes": wanted})


def ask_all(conn: Connection) -> None:
    """The chain has moved: a round shall follow for each node with anything left to sweep."""
    conn.execute(ASK_ALL)


def begin(conn: Connection, node: str, seconds: float) -> int | None:
    """Take the node's round for so long; what was asked until now, None if there is none to do."""
    row = conn.execute(BEGIN, {"node": node, "seconds": seconds}).fetchone()
    return None if row is None else int(row[0])


def end(conn: Connection, node: str, asked: int) -> bool:
    """The round covers what was asked until it began; whether more was asked meanwhile."""
    row = conn.execute(END, {"node": node, "asked": asked}).fetchone()
    return bool(row and row[0])


def waiting(conn: Connection) -> list[str]:
    """Nodes whose round nobody does."""
    return [row[0] for row in conn.execute(WAITING)]
