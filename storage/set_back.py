"""What stands further ahead than anybody sets it: written before Postgres' clock was set back.

A host that starts by a wrong clock may be put right minutes later, by hours. What was to wait for
seconds, a commitment to publish say, would wait for all of them.
"""

from __future__ import annotations

from storage.database import Connection
from storage.endpoints import KNOWN, LONGEST_PAUSE_SECONDS
from storage.outbox import LONGEST_WAIT_SECONDS
from storage.pauses import growing

#: Rows of the outbox that one statement mends.
PAGE = 10_000
#: No pause is longer than two to the number of attempts, nor than the longest one.
_DUE_TOO_LATE = f"""
    o.sent_at IS NULL AND o.due_at > statement_timestamp()
    AND o.due_at > statement_timestamp() + {growing("o.attempts")}
"""
#: Effects and, endpoint by endpoint, letters: both have an index by when they are due, and letters
#: of who is silent lie there by the million. Effects first.
DUE_TOO_LATE = f"""
    UPDATE outbox SET due_at = clock_timestamp() WHERE ctid = ANY(ARRAY(
        SELECT o.ctid FROM outbox AS o WHERE o.endpoint IS NULL AND {_DUE_TOO_LATE}
        UNION ALL
        SELECT letter.ctid FROM ({KNOWN}) AS known CROSS JOIN LATERAL (
            SELECT o.ctid FROM outbox AS o WHERE o.endpoint = known.name AND {_DUE_TOO_LATE}
            LIMIT %(limit)s
        ) AS letter
        LIMIT %(limit)s))
"""
LEFT_ALONE_TOO_LONG = """
    UPDATE webhook_endpoints SET open_until = NULL
    WHERE open_until > statement_timestamp() + make_interval(secs => %(longest)s)
"""
SENT_TO_TOO_LONG = """
    UPDATE webhook_endpoints SET busy_until = NULL
    WHERE busy_until > statement_timestamp() + make_interval(secs => %(seconds)s)
"""
SWEPT_FOR_TOO_LONG = """
    UPDATE sweep_rounds SET busy_until = NULL
    WHERE busy_until > statement_timestamp() + make_interval(secs => %(seconds)s)
"""


def mend(conn: Connection, claim_seconds: float) -> bool:
    """Let all of it be due, and free, at once; of the outbox a page, and whether more is left.

    Args:
        claim_seconds: longer than anybody claims a round or an endpoint for.
    """
    facts = {"longest": LONGEST_WAIT_SECONDS, "limit": PAGE}
    more = conn.execute(DUE_TOO_LATE, facts).rowcount == PAGE
    conn.execute(LEFT_ALONE_TOO_LONG, {"longest": LONGEST_PAUSE_SECONDS})
    conn.execute(SENT_TO_TOO_LONG, {"seconds": claim_seconds})
    conn.execute(SWEPT_FOR_TOO_LONG, {"seconds": claim_seconds})
    return more
