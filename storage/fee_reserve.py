"""Which fee wallets hold fewer coins than the channels of their nodes ask for (users_ask L10)."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from storage.database import Connection

#: However many channels and coins there are, no more of them are counted than matter.
LACKING = """
    SELECT n.name AS node, asked.count AS channels, asked.count - held.count AS coins
    FROM nodes AS n
    CROSS JOIN LATERAL (
        SELECT count(*) FROM (
            SELECT FROM channels AS c
            WHERE c.node = n.name AND c.closed_id IS NULL AND c.channel_type = %(channel_type)s
            LIMIT %(most_channels)s
        ) AS first_ones
    ) AS asked
    CROSS JOIN LATERAL (
        SELECT count(*) FROM (
            SELECT FROM fee_wallet_coins AS w
            WHERE w.node = n.name AND w.spent_height IS NULL AND w.value_sat >= %(sat)s
            LIMIT %(most_channels)s
        ) AS large_enough
    ) AS held
    WHERE asked.count > held.count
    ORDER BY n.name
"""


@dataclass(frozen=True, slots=True)
class Reserve:
    """What is kept in a fee wallet: so much for each of at most so many channels of a type."""

    channel_type: str
    sat: int
    most_channels: int


@dataclass(frozen=True, slots=True)
class Lacking:
    """How many coins a node's fee wallet lacks for so many channels, at most those that count."""

    node: str
    channels: int
    coins: int


def lacking(conn: Connection, reserve: Reserve) -> list[Lacking]:
    """The nodes whose wallet holds too few unspent coins of at least `reserve.sat`, by name."""
    facts = {
        "channel_type": reserve.channel_type,
        "sat": reserve.sat,
        "most_channels": reserve.most_channels,
    }
    with conn.cursor(row_factory=class_row(Lacking)) as cursor:
        return cursor.execute(LACKING, facts).fetchall()
