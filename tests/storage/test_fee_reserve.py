"""Which fee wallets hold too little, found without counting every channel (users_ask L10, L23)."""

from storage import fee_reserve
from storage.database import Database
from storage.fee_reserve import Reserve
from tests.storage.plans import plan


def test_l10_open_channels_of_the_type_are_found_by_an_index(db: Database) -> None:
    with db.transaction() as conn:
        found = plan(conn, fee_reserve.LACKING, Reserve("x", 1, 10).facts)
    assert "using channels_open_by_type on channels" in found, found
    assert "(channel_type = 'x'::text)" in found, found
    assert "Filter: (channel_type" not in found, found
