"""Which fee wallets hold fewer coins than the channels of their nodes ask for (users_ask L10)."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from storage.database import ROW_BY_ROW, Connection

#: The channels of node `n` that something is kept for. However many there are, no more of them are
#: counted than matter; nor are coins, below.
KEPT_FOR = """
    SELECT count(*) FROM (
        SELECT FROM channels AS c
        WHERE c.node = n.name AND c.closed_id IS NULL AND c.channel_type = %(reserve_type)s
        LIMIT %(reserve_channels)s
    ) AS kept_for
"""
LACKING = f"""
    SELECT n.name AS node, asked.count AS channels, asked.count - held.count AS coins
    FROM nodes AS n
    CROSS JOIN LATERAL ({KEPT_FOR}) AS asked
    CROSS JOIN LATERAL (
        SELECT count(*) FROM (
            SELECT FROM fee_wallet_coins AS w
            WHERE w.node = n.name AND w.spent_height IS NULL AND w.value_sat >= %(reserve_sat)s
            LIMIT %(reserve_channels)s
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

    @property
    def facts(self) -> dict[str, str | int]:
        """As statements name them."""
        return {
            "reserve_type": self.channel_type,
            "reserve_sat": self.sat,
            "reserve_channels": self.most_channels,
        }


@dataclass(frozen=True, slots=True)
class Lacking:
    """How many coins a node's fee wallet lacks for so many channels, at most those that count."""

    node: str
    channels: int
    coins: int


def lacking(conn: Connection, reserve: Reserve) -> list[Lacking]:
    """The nodes whose wallet holds too few unspent coins of at least `reserve.sat`, by name."""
    conn.execute(ROW_BY_ROW)
    with conn.cursor(row_factory=class_row(Lacking)) as cursor:
        return cursor.execute(LACKING, reserve.facts).fetchall()
