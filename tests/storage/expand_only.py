"""What a migration may do to a schema that an older version still works on: add, and widen.

The schema is read out of Postgres before and after, so it does not matter how a migration says
what it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy

COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           a.atthasdef OR a.attidentity <> ''
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
      AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
"""
CHECKS = """
    SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
    FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
    WHERE k.connamespace = 'public'::regnamespace AND k.contype = 'c' AND NOT c.relispartition
"""
INDEXES = """
    SELECT t.relname, i.relname, x.indisunique,
           array_to_string(ARRAY(
               SELECT pg_get_indexdef(x.indexrelid, n, true)
               FROM generate_series(1, x.indnkeyatts) AS n), ','),
           coalesce(pg_get_expr(x.indpred, x.indrelid), '')
    FROM pg_index AS x
    JOIN pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_class AS t ON t.oid = x.indrelid
    WHERE t.relnamespace = 'public'::regnamespace AND NOT t.relispartition
"""

#: Tables that grow with channels, their history or the chain: an index on one of these is not
#: built while others wait to write.
LARGE = frozenset(
    {
        "broadcast_inputs",
        "broadcasts",
        "cases",
        "channel_htlcs",
        "channel_resolutions",
        "channels",
        "contracts",
        "deadlines",
        "docket",
        "revoked_states",
        "watches",
        "told_preimages",
        "webhook_receipts",
    }
)


@dataclass(frozen=True)
class Column:
    """One column as an older version may find it."""

    type: str
    required: bool
    has_default: bool


@dataclass(frozen=True)
class Schema:
    """What an older version relies on."""

    columns: dict[tuple[str, str], Column]
    checks: dict[tuple[str, str], str]
    indexes: dict[tuple[str, str], tuple[bool, str, str]]

    @property
    def tables(self) -> set[str]:
        return {table for table, _ in self.columns}


def read(connection: sqlalchemy.Connection) -> Schema:
    """The schema as this transaction sees it."""
    return Schema(
        {(t, c): Column(kind, required, default)
         for t, c, kind, required, default in connection.exec_driver_sql(COLUMNS)},
        {(t, name): text for t, name, text in connection.exec_driver_sql(CHECKS)},
        {(t, name): (unique, keys, where)
         for t, name, unique, keys, where in connection.exec_driver_sql(INDEXES)},
    )  # fmt: skip


def faults(before: Schema, after: Schema) -> list[str]:
    """What an older version that is still at work would stumble over, in words."""
    return [*_columns(before, after), *_checks(before, after), *_indexes(before, after)]


def _columns(before: Schema, after: Schema) -> Iterator[str]:
    for (table, name), was in before.columns.items():
        now = after.columns.get((table, name))
        if now is None:
            yield f"{table}.{name} is gone: drop it a version later, when nothing reads it"
        elif now.type != was.type:
            yield f"{table}.{name} changes from {was.type} to {now.type}: add another column"
        elif now.required and not was.required:
            yield f"{table}.{name} becomes NOT NULL: an older version may leave it out"
    for (table, name), now in after.columns.items():
        added = table in before.tables and (table, name) not in before.columns
        if added and now.required and not now.has_default:
            yield f"{table}.{name} is NOT NULL without a default: an older version leaves it out"


def _checks(before: Schema, after: Schema) -> Iterator[str]:
    for (table, name), now in after.checks.items():
        was = before.checks.get((table, name))
        if was is None:
            old_columns = [c for t, c in before.columns if t == table]
            new_columns = [c for t, c in after.columns if t == table and c not in old_columns]
            if table in before.tables and not any(re.search(rf"\b{c}\b", now) for c in new_columns):
                yield f"{table} has a new check {name}: an older version does not know of it"
        elif was != now:
            lost = set(re.findall(r"'([^']*)'", was)) - set(re.findall(r"'([^']*)'", now))
            if lost:
                yield f"{table}: check {name} refuses what it allowed: {', '.join(sorted(lost))}"


def _indexes(before: Schema, after: Schema) -> Iterator[str]:
    keys_before = {(t, keys, where) for (t, _), (unique, keys, where) in before.indexes.items()
                   if unique}  # fmt: skip
    keys_after = {(t, keys, where) for (t, _), (unique, keys, where) in after.indexes.items()
                  if unique}  # fmt: skip
    for table, keys, _ in sorted(keys_before - keys_after):
        yield f"{table} ({keys}) is no longer unique: ON CONFLICT of an older version fails"
    for table, keys, _ in sorted(keys_after - keys_before):
        if table in before.tables and (table, keys.split(",")[0]) in before.columns:
            yield f"{table} ({keys}) becomes unique: an older version may write it twice"
    for (table, name), (unique, *_) in after.indexes.items():
        if table in before.tables & LARGE and (table, name) not in before.indexes and not unique:
            yield f"index {name} is built on {table} while others wait to write"
