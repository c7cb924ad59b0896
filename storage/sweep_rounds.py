"""Rounds of sweeping: for each node one at a time, and none asked for is forgotten.

A round is claimed for a while, under an id made for this very claim: whoever was paused past its
end gives nothing back that another process holds by now, whatever host name and process id they
share (users_ask P5). What has a deadline is swept in rounds of its own, `urgent` ones, which wait
for no others (users_ask C7). Two rounds at once would do no harm, since outputs and coins are
locked when a broadcast is stored; they would only sign in vain.

A step of the chain asks for a round of each node by itself: who has not looked since is due. So
the watcher writes nothing here, and no worker that is stopped amid a commit holds up a block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from storage.database import Connection

_ANYTHING_LEFT = """
    EXISTS (SELECT 1 FROM sweep_inputs AS w
            WHERE w.node = {node} AND w.state = 'wanted' AND w.urgent = {urgent})
    OR EXISTS (SELECT 1 FROM broadcasts AS b
               WHERE b.node = {node} AND b.state = 'open' AND b.purpose IN ('sweep', 'bump')
                 AND b.urgent = {urgent})
"""
#: Whoever asks for both lanes asks for the urgent one first, each by the names of the nodes: so no
#: two ever wait for each other.
ASK = """
    INSERT INTO sweep_rounds AS r (node, urgent, asked, anew)
    SELECT node, urgent, 1, CASE WHEN %(anew)s THEN 1 ELSE 0 END
    FROM unnest(%(nodes)s::text[], %(urgent)s::bool[]) AS given (node, urgent)
    ORDER BY urgent DESC, node
    ON CONFLICT (node, urgent) DO UPDATE
    SET asked = r.asked + 1, anew = CASE WHEN %(anew)s THEN r.asked + 1 ELSE r.anew END
    RETURNING node, urgent, asked - 1 = done
"""
ASK_ALL = f"""
    INSERT INTO sweep_rounds AS r (node, urgent, asked, anew)
    SELECT n.name, lane.urgent, 1, 1
    FROM nodes AS n CROSS JOIN (VALUES (true), (false)) AS lane (urgent)
    WHERE {_ANYTHING_LEFT.format(node="n.name", urgent="lane.urgent")}
    ORDER BY lane.urgent DESC, n.name
    ON CONFLICT (node, urgent) DO UPDATE SET asked = r.asked + 1, anew = r.asked + 1
"""
#: Of `sweep_rounds AS r`: a round was asked for, or the chain has moved since the last one and
#: there is anything left to sweep.
DUE = f"""
    (r.done < r.asked
     OR (r.looked_step IS DISTINCT FROM (SELECT step FROM chain_cursor)
         AND ({_ANYTHING_LEFT.format(node="r.node", urgent="r.urgent")})))
"""
#: A wish that changes after this has been read stands in a transaction that is open now, or later.
BEGIN = f"""
    UPDATE sweep_rounds AS r
    SET claim = %(claim)s,
        busy_until = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE node = %(node)s AND urgent = %(urgent)s AND {DUE}
      AND (busy_until IS NULL OR busy_until < clock_timestamp() OR claim = %(claim)s)
    RETURNING asked, CASE WHEN anew <= done THEN looked_step END, looked_from::text::bigint,
              pg_snapshot_xmin(pg_current_snapshot())::text::bigint
"""
END = """
    UPDATE sweep_rounds
    SET busy_until = NULL, claim = NULL, done = greatest(done, %(asked)s),
        looked_step = %(step)s, looked_from = %(position)s::bigint::text::xid8
    WHERE node = %(node)s AND claim = %(claim)s
    RETURNING done < asked OR looked_step IS DISTINCT FROM (SELECT step FROM chain_cursor)
"""
GIVE_BACK = """
    UPDATE sweep_rounds SET busy_until = NULL, claim = NULL
    WHERE node = %(node)s AND claim = %(claim)s
"""
WAITING = f"""
    SELECT node FROM sweep_rounds AS r
    WHERE urgent = %(urgent)s AND {DUE}
      AND (busy_until IS NULL OR busy_until < clock_timestamp())
    ORDER BY node
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A round that this process does. It covers what was `asked` until it began.

    `position`: what changes after it began changes in this transaction or a later one.
    `looked_from` is that of the last round, which ended at `looked_step` of the chain; None when
    everything is to be looked at anew.
    """

    node: str
    id: UUID
    asked: int
    urgent: bool = False
    position: int = 0
    looked_step: int | None = None
    looked_from: int | None = None

    def since(self, step: int) -> int | None:
        """From where on to look at this step of the chain; None: at everything.

        With every step the offers are made anew, so only within one is a change all that counts.
        """
        return self.looked_from if self.looked_step == step else None


def ask(
    conn: Connection, nodes: Iterable[str], *, urgent: bool = False, anew: bool = True
) -> frozenset[str]:
    """A round shall follow for these nodes: of everything, or of what has changed since the last.

    Answers those whose round nobody was told of yet. For the others one is on its way, or under
    way and looks again before it ends; in a mass close that is all but a few.
    """
    untold = ask_lanes(conn, {(node, urgent) for node in nodes}, anew=anew)
    return frozenset(node for node, _ in untold)


def ask_lanes(
    conn: Connection, lanes: Collection[tuple[str, bool]], *, anew: bool = True
) -> frozenset[tuple[str, bool]]:
    """`ask` for both lanes in one statement: nodes, each with whether it is the urgent one."""
    if not lanes:
        return frozenset()
    facts = {
        "nodes": [node for node, _ in lanes],
        "urgent": [urgent for _, urgent in lanes],
        "anew": anew,
    }
    asked = conn.execute(ASK, facts)
    return frozenset((node, urgent) for node, urgent, untold in asked if untold)


def ask_all(conn: Connection) -> None:
    """A round of everything shall follow for each node with anything left to sweep."""
    conn.execute(ASK_ALL)


def begin(
    conn: Connection, node: str, claim_id: UUID, seconds: float, *, urgent: bool = False
) -> Claim | None:
    """Take the node's round for so long; None if there is none to do, or another does it.

    `claim_id` is made anew for each round, and is the same when its commit is tried again.
    """
    facts = {"node": node, "urgent": urgent, "seconds": seconds, "claim": claim_id}
    row = conn.execute(BEGIN, facts).fetchone()
    if row is None:
        return None
    asked, looked_step, looked_from, position = row
    return Claim(node, claim_id, asked, urgent, position, looked_step, looked_from)


def end(conn: Connection, claim: Claim, step: int | None = None) -> bool:
    """The round is done, at this step of the chain; whether more was asked meanwhile.

    Changes nothing, and answers False, when the claim ran out and another process has it.
    """
    facts = {
        "node": claim.node,
        "claim": claim.id,
        "asked": claim.asked,
        "step": step,
        "position": claim.position,
    }
    row = conn.execute(END, facts).fetchone()
    return bool(row and row[0])


def give_back(conn: Connection, claim: Claim) -> None:
    """The round failed: the next process need not wait for the claim to run out."""
    conn.execute(GIVE_BACK, {"node": claim.node, "claim": claim.id})


def waiting(conn: Connection, *, urgent: bool = False) -> list[str]:
    """Nodes whose round nobody does."""
    return [row[0] for row in conn.execute(WAITING, {"urgent": urgent})]
