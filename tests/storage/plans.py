"""How Postgres would carry a statement out, as if every table were large."""

from collections.abc import Iterator, Mapping
from typing import Any

from storage.database import Connection


def plan(conn: Connection, query: str, facts: Mapping[str, object]) -> str:
    """Postgres' own plan, which reads a table from end to end only where no index serves."""
    conn.execute("SET LOCAL enable_seqscan = off")
    return "\n".join(row[0] for row in conn.execute(f"EXPLAIN {query}", facts))


def rows_read(conn: Connection, query: str, facts: Mapping[str, object]) -> int:
    """So many rows this statement takes out of tables and indexes, those that it drops again too.

    It is carried out.
    """
    [(found,)] = conn.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", facts).fetchall()
    return sum(_rows_of(node) for node in _nodes(found[0]["Plan"]) if "Relation Name" in node)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _rows_of(scan: Mapping[str, Any]) -> int:
    dropped = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    each: float = scan["Actual Rows"] + sum(scan.get(name, 0) for name in dropped)
    return round(each * float(scan["Actual Loops"]))
