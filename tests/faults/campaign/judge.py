"""What was lost or done twice: by the calm ends of the same acts, the dockets and the chain."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import psycopg

from contractcourt.bitcoin.outpoint import OutPoint
from storage import channels, docket
from storage.database import Connection
from tests.faults.campaign.cast import Actor
from tests.faults.client import Accepted
from tests.faults.ends import End, end_of
from tests.faults.parts import PartedCourt

#: Transactions of ours that the node took for an output although another one's spend of it was
#: mined already, on the chain as it stands.
SPENT_TWICE = """
    SELECT encode(b.txid, 'hex'), b.purpose
    FROM spends AS s
    JOIN blocks AS mined ON mined.hash = s.block_hash
    JOIN broadcast_inputs AS i ON i.outpoint = s.outpoint
    JOIN broadcasts AS b ON b.id = i.broadcast_id
    WHERE NOT s.stale AND b.txid <> s.txid AND b.first_attempt_at > mined.connected_at
      AND b.last_outcome IN ('accepted', 'already_known')
"""
#: Different transactions that both stand on the best chain for one output: none can.
CONFIRMED_TWICE = """
    SELECT encode(i.outpoint, 'hex'), count(*)::text
    FROM broadcast_inputs AS i
    JOIN broadcasts AS b ON b.id = i.broadcast_id AND b.state = 'confirmed'
    GROUP BY i.outpoint HAVING count(*) > 1
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that is wrong, in words, and what is on record of the channels concerned."""

    lost: tuple[str, ...]
    records: tuple[str, ...]
    doubled: tuple[str, ...]
    audit: str

    @property
    def is_clean(self) -> bool:
        return not self.lost and not self.doubled and not self.audit


def judge(
    court: PartedCourt, actors: Sequence[Actor], calm: Mapping[tuple[str, str], End]
) -> Verdict:
    """Hold the court to its promises. `calm`: the end of each part without faults."""
    lost: list[str] = []
    records: list[str] = []
    doubled: list[str] = []
    for actor in actors:
        end = end_of(court.client, actor.channel_point)
        name = f"{actor.channel_point} ({actor.act.title}, {actor.act.channel_type})"
        if differences := _differences(end, calm[actor.part]):
            lost += [f"{name}: {words}" for words in differences]
            records += _record(court, actor)
        if end.commitments > 1 or end.force_closes > 1:
            doubled.append(f"{name}: {end.commitments} commitments, {end.force_closes} requests")
    lost += court.client.db.run(lambda conn: _not_on_the_docket(conn, court.client.accepted))
    with psycopg.connect(court.client.endpoints["postgres"]) as conn:
        for query in (SPENT_TWICE, CONFIRMED_TWICE):
            doubled += [" ".join(row) for row in conn.execute(query)]
    return Verdict(tuple(lost), tuple(records), tuple(doubled), _audit(court))


def ends(court: PartedCourt, actors: Sequence[Actor]) -> dict[tuple[str, str], End]:
    """How each part ended."""
    return {actor.part: end_of(court.client, actor.channel_point) for actor in actors}


def _differences(end: End, calm: End) -> list[str]:
    """All that ended otherwise. How many transactions it took depends on who travelled along."""
    mined = f"mined {dict(end.confirmed)} instead of {dict(calm.confirmed)}"
    return [
        f"{field.name} {getattr(end, field.name)}, without faults {getattr(calm, field.name)}, "
        + mined
        for field in fields(End)
        if field.name not in ("confirmed", "commitments")
        and getattr(end, field.name) != getattr(calm, field.name)
    ]


def _record(court: PartedCourt, actor: Actor) -> list[str]:
    """What the channel's docket and its transactions tell of how it came to this end."""
    entries = court.client.docket(actor.channel_point)["entries"]
    sent = court.client.channel(actor.channel_point)["broadcasts"]
    return [
        *(f"{e['seq']} {e['created_at']} {e['type']} {e['idempotency_key']}" for e in entries),
        *(json.dumps({k: v for k, v in one.items() if k != "tx"}) for one in sent),
    ]


def _not_on_the_docket(conn: Connection, accepted: Sequence[Accepted]) -> list[str]:
    """Webhooks that were answered with 202 and do not stand where the answer said."""
    standing = {
        (str(row.channel_point), entry.seq): entry.idempotency_key
        for row in channels.list_channels(conn, limit=100_000)
        for entry in docket.entries(conn, row.id, limit=100_000)
    }
    return [
        f"webhook {one.idempotency_key} is not entry {one.seq} of {one.channel_point}"
        for one in accepted
        if one.channel_point is not None
        and one.seq is not None
        and standing.get((str(OutPoint.parse(one.channel_point)), one.seq)) != one.idempotency_key
    ]


def _audit(court: PartedCourt) -> str:
    """Empty when `contractcourt audit` finds no difference."""
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "audit", "--data-dir", str(court.data_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()
