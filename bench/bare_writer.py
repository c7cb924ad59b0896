"""What nothing could beat in Postgres: one writer of the rows that a court wrote.

It writes as many rows of each table as the court inserted and updated, with what the newest of them
hold now, ten thousand in a durable commit. They are appended to tables with the same columns,
checks, indexes and storage: no row is looked for, locked, or held against another table's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict, TypeVar

import psutil
import psycopg
from psycopg import sql
from psycopg.types.array import ListBinaryDumper

from bench.court import RunningCourt

Row = TypeVar("Row")
Connection = psycopg.Connection[tuple[object, ...]]
#: Writes rows into a table, within the caller's transaction.
Write = Callable[[Connection, sql.Identifier, Sequence[Row]], None]

#: Rows that were inserted and updated in each table that still has some; a docket's months are one.
_WRITES = """
    SELECT root::regclass::text, sum(n_tup_ins + n_tup_upd)
    FROM (SELECT coalesce(pg_partition_root(relid), relid) AS root, s.* FROM
          pg_stat_user_tables AS s) AS written
    WHERE schemaname = 'public' GROUP BY root HAVING sum(n_tup_ins + n_tup_upd) > 0 ORDER BY 1
"""
#: Those that can be written, generated ones follow from the others; and the type of each.
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ORDER BY attnum
"""
#: A session of Postgres that has nothing to do tells what it wrote after ten seconds.
_UNTOLD_SECONDS = 12
#: Rows in one commit, and in one INSERT of it.
_BATCH = 10_000
_INSERTED_AT_ONCE = 500


class Wrote(TypedDict):
    """What one connection wrote, each row once or each as often again as the court wrote it."""

    rows: int
    seconds: float
    cpu_seconds: float


class Writer(TypedDict):
    """Both of them, for one way of writing."""

    seconds: float
    once: Wrote
    again: Wrote


class Floor(TypedDict):
    """Two writers of what this run wrote.

    `copy` has its rows in COPY's own words before the clock starts: it is handed to Postgres and
    nothing else. `insert` begins with Python values, 500 rows a statement, as the court does.
    """

    copy: Writer
    insert: Writer
    writes: dict[str, int]


def bare_writer(court: RunningCourt) -> Floor:
    """Both writers on what this run wrote since the statistics were reset."""
    time.sleep(_UNTOLD_SECONDS)
    with psycopg.connect(court.endpoints["postgres"], autocommit=True) as conn:
        conn.adapters.register_dumper(list, ListBinaryDumper)
        writes = {table: int(count) for table, count in conn.execute(_WRITES).fetchall()}
        writes = {table: count for table, count in writes.items() if _has_rows(conn, table)}
        return {
            "copy": _measured(conn, writes, _as_lines, _copy),
            "insert": _measured(conn, writes, _as_values, _insert),
            "writes": writes,
        }


def _measured(
    conn: Connection,
    writes: dict[str, int],
    read: Callable[[Connection, str, int], list[Row]],
    write: Write[Row],
) -> Writer:
    rows = {table: read(conn, table, count) for table, count in writes.items()}
    once = _written(conn, list(rows.items()), write)
    again = _written(conn, list(_written_again(writes, rows)), write)
    seconds = round(once["seconds"] + again["seconds"], 3)
    return {"seconds": seconds, "once": once, "again": again}


def _written_again(
    writes: dict[str, int], rows: dict[str, list[Row]]
) -> Iterator[tuple[str, list[Row]]]:
    for table, known in rows.items():
        left = writes[table] - len(known)
        while left > 0:
            yield table, known[:left]
            left -= len(known)


def _written(conn: Connection, passes: list[tuple[str, list[Row]]], write: Write[Row]) -> Wrote:
    """Each into a table of its own, for a row has a key that it can't share with itself."""
    conn.execute("CREATE SCHEMA floor")
    copies = [
        (_create_like(conn, table, f"{table}_{number}"), rows)
        for number, (table, rows) in enumerate(passes)
    ]
    began, before = time.monotonic(), _cpu(conn)
    for copy, rows in copies:
        for start in range(0, len(rows), _BATCH):
            with conn.transaction():
                write(conn, copy, rows[start : start + _BATCH])
    seconds, cpu = time.monotonic() - began, _cpu(conn) - before
    for copy, _ in copies:  # Each by itself: all at once take more locks than Postgres has.
        conn.execute(sql.SQL("DROP TABLE {}").format(copy))
    conn.execute("DROP SCHEMA floor")
    return {
        "rows": sum(len(rows) for _, rows in passes),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
    }


# -- the two ways --


def _as_lines(conn: Connection, table: str, most: int) -> list[bytes]:
    """Rows of this table in COPY's words, those that lie last first."""
    query = sql.SQL("COPY ({}) TO STDOUT").format(_newest(conn, table, most))
    with conn.cursor().copy(query) as read:
        return [bytes(line) for line in read]


def _copy(conn: Connection, table: sql.Identifier, lines: Sequence[bytes]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, _columns(conn, table)))
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)
    with conn.cursor().copy(query) as out:
        out.write(b"".join(lines))


def _as_values(conn: Connection, table: str, most: int) -> list[tuple[object, ...]]:
    """The same rows as Python values."""
    return conn.cursor(binary=True).execute(_newest(conn, table, most)).fetchall()


def _insert(conn: Connection, table: sql.Identifier, rows: Sequence[tuple[object, ...]]) -> None:
    columns = _columns(conn, table)
    query = sql.SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM unnest({}) AS u ({})"
    ).format(
        table,
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(
            sql.SQL("{}::" + kind).format(sql.Identifier("u", name))
            for name, kind in columns.items()
        ),
        sql.SQL(", ").join(sql.SQL("%s::" + _unnested(kind) + "[]") for kind in columns.values()),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
    )
    for start in range(0, len(rows), _INSERTED_AT_ONCE):
        part = rows[start : start + _INSERTED_AT_ONCE]
        conn.execute(query, [list(column) for column in zip(*part, strict=True)])


# -- tables --


def _create_like(conn: Connection, table: str, copy: str) -> sql.Identifier:
    like, name = sql.Identifier("public", table), sql.Identifier("floor", copy)
    conn.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(name, like))
    # LIKE leaves these out: without them the writer compresses cases, which the court does not.
    found = conn.execute(
        "SELECT unnest(reloptions) FROM pg_class WHERE oid = %s::regclass", [table]
    )
    for (option,) in found.fetchall():
        conn.execute(sql.SQL("ALTER TABLE {} SET ({})").format(name, sql.SQL(str(option))))
    return name


def _has_rows(conn: Connection, table: str) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.Identifier("public", table))
    return conn.execute(query).fetchone() == (True,)


def _newest(conn: Connection, table: str, most: int) -> sql.Composed:
    """The query for rows that lie last first; what psycopg has no plain value for as text."""
    source = sql.Identifier("public", table)
    columns = [
        sql.SQL("{}::text" if _goes_as_text(kind) else "{}").format(sql.Identifier(name))
        for name, kind in _columns(conn, source).items()
    ]
    return sql.SQL("SELECT {} FROM {} ORDER BY tableoid DESC, ctid DESC LIMIT {}").format(
        sql.SQL(", ").join(columns), source, sql.Literal(most)
    )


def _columns(conn: Connection, table: sql.Identifier) -> dict[str, str]:
    found = conn.execute(_COLUMNS, [table.as_string(conn)])
    return {str(name): str(kind) for name, kind in found.fetchall()}


def _goes_as_text(kind: str) -> bool:
    return kind in ("jsonb", "xid8") or kind.endswith("[]")


def _unnested(kind: str) -> str:
    return "text" if _goes_as_text(kind) else kind


def _cpu(conn: Connection) -> float:
    """Seconds of the connection's server process and of this one."""
    times = [psutil.Process(pid).cpu_times() for pid in (conn.info.backend_pid, os.getpid())]
    return float(sum(t.user + t.system for t in times))
