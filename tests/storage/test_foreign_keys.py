"""No foreign key makes Postgres read a whole table, which at a million channels takes a second."""

from __future__ import annotations

from storage.database import Database

#: Their rows stay for ever and keep their keys, so nobody is ever looked for who refers to them.
LASTING = ["broadcasts", "channels", "fee_wallet_scripts", "nodes"]
#: A row that goes or changes its key is looked for among those that refer to it.
WITHOUT_INDEX = """
    SELECT k.conrelid::regclass::text, pg_get_constraintdef(k.oid)
    FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
    WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND NOT c.relispartition
      AND k.confrelid::regclass::text <> ALL(%(lasting)s)
      AND k.conrelid <> 'chain_cursor'::regclass  -- one row
      AND NOT EXISTS (
        SELECT 1 FROM pg_index AS x
        WHERE x.indrelid = k.conrelid
          AND k.conkey[1] = x.indkey[0]
          AND (x.indpred IS NULL
               OR pg_get_expr(x.indpred, x.indrelid) = format(
                   '(%%I IS NOT NULL)',
                   (SELECT a.attname FROM pg_attribute AS a
                    WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]))))
    ORDER BY 1, 2
"""


def test_whoever_refers_to_a_row_that_may_change_is_found_by_an_index(db: Database) -> None:
    with db.transaction() as conn:
        found = conn.execute(WITHOUT_INDEX, {"lasting": LASTING}).fetchall()
    assert found == []
