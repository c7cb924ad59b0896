"""The months of the docket: made ahead, taken out of the way when old, dropped when told to.

A part stands in `docket`, where appends and wake-ups go; or in `docket_archive`, which only the
audit and whoever looks read; or alone, on its way from one to the other. Each move is one step
that may be cut off anywhere: the next run finds the part where it stands and goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import cast

from psycopg import sql

from storage.database import Connection, Database

#: Months that have their part before they begin.
MONTHS_AHEAD = 1
#: How long a move may wait for older transactions before it is left to the next run.
_MOST_SECONDS = 10.0

PARTS = r"""
    SELECT to_date(c.relname, '"docket_"YYYY_MM'), p.relname, coalesce(i.inhdetachpending, false)
    FROM pg_class AS c
    LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
    LEFT JOIN pg_class AS p ON p.oid = i.inhparent
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
      AND c.relname ~ '^docket_\d{4}_\d{2}$'
    ORDER BY c.relname
"""
NOW = "SELECT clock_timestamp()"
MAKE = "SELECT make_docket_part(%(month)s)"
ARCHIVE = "SELECT archive_docket_part(%(month)s)"
#: A part that was detached has its month as a check. By that Postgres knows that nothing in it is
#: older; else it would read all of a month for it, which may take longer than a statement may.
BY_ITS_CHECK = "SET LOCAL constraint_exclusion = on"
DETACH = sql.SQL("ALTER TABLE {parent} DETACH PARTITION {part} CONCURRENTLY")
FINISH_DETACHING = sql.SQL("ALTER TABLE {parent} DETACH PARTITION {part} FINALIZE")
DROP = sql.SQL("DROP TABLE {part}")
REACHES_BACK = sql.SQL("SELECT EXISTS (SELECT FROM {part} WHERE created_at < {first})")
BRING_BACK = sql.SQL(
    "ALTER TABLE docket ATTACH PARTITION {part} FOR VALUES FROM ({first}) TO ({end})"
)
#: Channels that one statement looks at, whatever it finds.
PAGE = 10_000
#: One look into the part's index for each channel: it has been left alone long ago.
UNCOVERED = sql.SQL("""
    WITH page AS MATERIALIZED (
        SELECT id FROM channels WHERE id > %(after)s ORDER BY id LIMIT %(limit)s
    )
    SELECT ARRAY(
               SELECT id FROM page
               WHERE (SELECT max(seq) FROM {part} WHERE channel_id = page.id)
                   > coalesce((SELECT seq FROM docket_checkpoints WHERE channel_id = page.id), 0)
               ORDER BY id),
           (SELECT max(id) FROM page)
""")


class Shelf(Enum):
    """Where a part stands."""

    DOCKET = "docket"
    ARCHIVE = "docket_archive"
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Part:
    """The entries of one month. `leaving`: its move out of `shelf` was cut off half-way."""

    month: date
    shelf: Shelf
    leaving: bool = False

    @property
    def name(self) -> str:
        """Its table."""
        return f"docket_{self.month:%Y_%m}"


def now(conn: Connection) -> datetime:
    """By the clock that entries are dated with; a host's may be anywhere."""
    [[at]] = conn.execute(NOW).fetchall()
    return cast(datetime, at).astimezone(UTC)


def parts(conn: Connection) -> list[Part]:
    """Every part there is, the oldest first."""
    return [
        Part(month, Shelf.ALONE if parent is None else Shelf(parent), leaving)
        for month, parent, leaving in conn.execute(PARTS)
    ]


def make_ahead(conn: Connection, at: datetime) -> list[date]:
    """Make the parts of this month and of those ahead; the months that were missing."""
    wanted = [month_after(at.date(), ahead) for ahead in range(MONTHS_AHEAD + 1)]
    there = {part.month for part in parts(conn)}
    made = []
    for month in wanted:
        if month not in there and conn.execute(MAKE, {"month": month}).fetchone() == (True,):
            made.append(month)
    return made


def room(conn: Connection, at: datetime) -> timedelta:
    """For how long from now on every entry will find its part."""
    open_months = {p.month for p in parts(conn) if p.shelf is Shelf.DOCKET and not p.leaving}
    month = month_after(at.date(), 0)
    if month not in open_months:
        return timedelta()
    while month in open_months:
        month = month_after(month, 1)
    return datetime(month.year, month.month, 1, tzinfo=UTC) - at


def uncovered(
    conn: Connection, part: Part, after: int, limit: int = PAGE
) -> tuple[Sequence[int], int | None]:
    """Of the next channels above the id `after` those with an entry here that no checkpoint covers,
    by id; and after which id to look on, None when these were the last.
    """
    query = UNCOVERED.format(part=sql.Identifier(part.name))
    [(found, last)] = conn.execute(query, {"after": after, "limit": limit}).fetchall()
    return found, last


def all_covered(conn: Connection, part: Part) -> bool:
    """No channel has an entry here that no checkpoint covers."""
    after: int | None = 0
    while after is not None:
        found, after = uncovered(conn, part, after)
        if found:
            return False
    return True


def followed(part: Part, months: int, found: Sequence[Part]) -> bool:
    """Whether so many whole months have passed since this one that each has its part.

    A clock that is years ahead makes the part of its present and of what comes next, and none of
    those between.
    """
    there = {other.month for other in found}
    # Its present month and the one ahead stand for none that has passed.
    return all(month_after(part.month, n) in there for n in range(1, months + 1 + MONTHS_AHEAD + 1))


def detach(db: Database, part: Part) -> None:
    """Take it off its shelf. No append waits for this; it waits for older transactions itself.

    Raises psycopg.errors.QueryCanceled when those take too long: the part is `leaving` then.
    """
    statement = FINISH_DETACHING if part.leaving else DETACH
    db.alone(
        statement.format(parent=sql.Identifier(part.shelf.value), part=sql.Identifier(part.name)),
        most_seconds=_MOST_SECONDS,
    )


def archive(conn: Connection, part: Part) -> None:
    """Put a part that stands alone into the archive."""
    conn.execute(BY_ITS_CHECK)
    conn.execute(ARCHIVE, {"month": part.month})


def bring_back(conn: Connection, part: Part) -> None:
    """Put a part that stands alone into the docket again. No append waits for this."""
    name = sql.Identifier(part.name)
    first, end = (_begins(month_after(part.month, ahead)) for ahead in (0, 1))
    conn.execute(BY_ITS_CHECK)
    [(reaches_back,)] = conn.execute(REACHES_BACK.format(part=name, first=first)).fetchall()
    since = sql.SQL("MINVALUE") if reaches_back else first
    conn.execute(BRING_BACK.format(part=name, first=since, end=end))


def _begins(month: date) -> sql.Literal:
    return sql.Literal(f"{month:%Y-%m-%d} 00:00:00+00")


def drop(conn: Connection, part: Part) -> None:
    """Drop a part that stands alone, for good."""
    conn.execute(DROP.format(part=sql.Identifier(part.name)))


def month_after(day: date, months: int) -> date:
    """The first day of the month so many months after the one of `day`."""
    count = day.year * 12 + day.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)
