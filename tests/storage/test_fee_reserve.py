"""Which fee wallets hold too little, found without counting every channel (users_ask L10, L23)."""

from storage import fee_reserve
from storage.database import Database


def test_l10_open_channels_of_the_type_are_found_by_an_index(db: Database) -> None:
    facts = {"channel_type": "x", "sat": 1, "most_channels": 10}
    with db.transaction() as conn:
        conn.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(
            row[0] for row in conn.execute(f"EXPLAIN {fee_reserve.LACKING}", facts).fetchall()
        )
    assert "using channels_open_by_type on channels" in plan, plan
    assert "(channel_type = 'x'::text)" in plan, plan
    assert "Filter: (channel_type" not in plan, plan
