"""The census: how many of everything the court has, from one snapshot, for Prometheus.

What grows with the channels is read from tallies, and what waits is counted up to a limit: a scrape
costs the same whatever the court has seen (docs/decisions/0022-tallies.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from storage import at_risk
from storage.database import Connection
from storage.fee_reserve import KEPT_FOR, Reserve
from storage.tallies import READ

#: More than so many waiting rows of a kind are not counted.
MOST_COUNTED = 100_000
#: Blocks within which a deadline is shown as near.
HORIZONS = (0, 6, 144)

WAITING = """
    SELECT 'outbox', kind, count(*)::float8
    FROM (SELECT kind FROM outbox WHERE sent_at IS NULL LIMIT %(most)s) AS waiting GROUP BY kind
    UNION ALL
    SELECT 'alarms', kind, count(*)
    FROM (SELECT kind FROM alarms WHERE cleared_at IS NULL LIMIT %(most)s) AS raised GROUP BY kind
    UNION ALL
    SELECT 'unapplied', 'count', count(*) FROM (SELECT FROM unapplied LIMIT %(most)s) AS waiting
    UNION ALL
    SELECT 'unapplied', 'oldest',
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
    FROM unapplied
    UNION ALL
    SELECT 'dead_letters', endpoint, count(*)
    FROM (SELECT endpoint FROM dead_letters WHERE replayed_at IS NULL LIMIT %(most)s) AS dead
    GROUP BY endpoint
    UNION ALL
    SELECT 'silent', name, failures FROM webhook_endpoints
"""
CHAIN = """
    SELECT 'watcher', 'height', k.height FROM chain_cursor AS k
    UNION ALL
    SELECT 'watcher', 'block_age', extract(epoch FROM clock_timestamp() - b.connected_at)
    FROM chain_cursor AS k JOIN blocks AS b ON b.hash = k.hash
    UNION ALL
    SELECT 'watcher', 'epoch', epoch FROM leases WHERE name = 'chain_watcher'
    UNION ALL
    SELECT 'watcher', 'leads', count(*)
    FROM leases WHERE name = 'chain_watcher' AND expires_at > clock_timestamp()
    UNION ALL
    SELECT 'deadlines', within.horizon::text, due.rows
    FROM unnest(%(horizons)s::int[]) AS within (horizon)
    CROSS JOIN LATERAL (
        SELECT count(*) AS rows
        FROM (SELECT FROM deadlines AS d
              WHERE d.height <= (SELECT height FROM chain_cursor) + within.horizon
              ORDER BY d.height LIMIT %(most)s) AS near
    ) AS due
"""
#: As the desk says it: sweeps that should be mined by then press too (decision 0023).
AT_RISK = f"""
    SELECT 'at_risk', pressing.horizon::text, pressing.value_sat
    FROM ({at_risk.WITHIN}) AS pressing
"""
#: What each fee wallet holds, and what its node's channels with anchors ask of it.
FEE_WALLETS = f"""
    SELECT 'fee_wallet', n.name,
           (SELECT coalesce(sum(c.value_sat), 0) FROM fee_wallet_coins AS c
            WHERE c.node = n.name AND c.spent_height IS NULL)
    FROM nodes AS n
    UNION ALL
    SELECT 'fee_reserve', n.name, ({KEPT_FOR}) * %(reserve_sat)s
    FROM nodes AS n
"""
POSTGRES = """
    SELECT 'postgres', 'xmin_age', coalesce(max(age(backend_xmin)), 0) FROM pg_stat_activity
    WHERE datname = current_database()
    UNION ALL
    SELECT 'postgres', 'transaction_seconds',
           coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    UNION ALL
    SELECT 'dead_tuples', relname, n_dead_tup FROM pg_stat_user_tables
    WHERE relname IN ('cases', 'channels', 'contracts', 'deadlines', 'docket_heads', 'outbox',
                      'sweep_inputs', 'tallies', 'unapplied', 'watches')
"""
CENSUS = f"""{READ} UNION ALL {WAITING} UNION ALL {CHAIN} UNION ALL {AT_RISK}
    UNION ALL {FEE_WALLETS} UNION ALL {POSTGRES}"""


@dataclass(frozen=True, slots=True)
class Census:
    """Counts by their natural label.

    `broadcasts` are the open ones by last outcome. `applied_within` are applied events by the
    upper bound of how long they waited, in seconds, each counted once. `watcher_leads` is 0 also
    where none ever led; the other figures of the watcher are None until one has.
    """

    channels: dict[str, int]
    docket_entries: dict[str, int]
    applied_within: dict[str, int]
    applied_after_seconds: float
    broadcasts: dict[str, int]
    broadcasts_settled: dict[str, int]
    alarms: dict[str, int]
    alarms_raised: dict[str, int]
    outbox: dict[str, int]
    webhooks_sent: dict[str, int]
    dead_letters: dict[str, int]
    silent_rounds: dict[str, int]
    unapplied: int
    oldest_unapplied_seconds: float
    signer_refusals: int
    watcher_height: int | None
    watcher_epoch: int | None
    watcher_leads: int
    watcher_block_age_seconds: float | None
    deadlines: dict[str, int]
    at_risk_sat: dict[str, int]
    fee_wallet_sat: dict[str, int]
    fee_wallet_reserve_sat: dict[str, int]
    oldest_xmin_age: int
    oldest_transaction_seconds: float
    dead_tuples: dict[str, int]


def count(conn: Connection, reserve: Reserve) -> Census:
    """Count all in one statement."""
    facts: dict[str, Any] = {
        "most": MOST_COUNTED,
        "horizons": list(HORIZONS),
        **at_risk.REASONS,
        **reserve.facts,
    }
    found: dict[str, dict[str, float]] = {}
    for family, label, value in conn.execute(CENSUS, facts):
        found.setdefault(family, {})[label] = float(value)

    def whole(family: str) -> dict[str, int]:
        return {label: int(value) for label, value in found.get(family, {}).items() if value}

    watcher, postgres = found["watcher"], found["postgres"]
    return Census(
        channels=whole("channels"),
        docket_entries=whole("docket_entries"),
        applied_within=whole("applied_within"),
        applied_after_seconds=found.get("applied_after_seconds", {}).get("", 0.0),
        broadcasts=whole("broadcasts_open"),
        broadcasts_settled=whole("broadcasts_settled"),
        alarms=whole("alarms"),
        alarms_raised=whole("alarms_raised"),
        outbox=whole("outbox"),
        webhooks_sent=whole("webhooks_sent"),
        dead_letters=whole("dead_letters"),
        silent_rounds=_all(found.get("silent", {})),
        unapplied=int(found["unapplied"]["count"]),
        oldest_unapplied_seconds=found["unapplied"]["oldest"],
        signer_refusals=int(found.get("signer_refusals", {}).get("", 0)),
        watcher_height=_maybe(watcher.get("height")),
        watcher_epoch=_maybe(watcher.get("epoch")),
        watcher_leads=int(watcher["leads"]),
        watcher_block_age_seconds=watcher.get("block_age"),
        deadlines=_all(found["deadlines"]),
        at_risk_sat=_all(found["at_risk"]),
        fee_wallet_sat=_all(found.get("fee_wallet", {})),
        fee_wallet_reserve_sat=_all(found.get("fee_reserve", {})),
        oldest_xmin_age=int(postgres["xmin_age"]),
        oldest_transaction_seconds=postgres["transaction_seconds"],
        dead_tuples=_all(found.get("dead_tuples", {})),
    )


def _all(counts: dict[str, float]) -> dict[str, int]:
    """With the zeros: what falls to nothing shall show it."""
    return {label: int(value) for label, value in counts.items()}


def _maybe(value: float | None) -> int | None:
    return None if value is None else int(value)
