"""The schema comes up once, whoever brings it up (users_ask P7)."""

from __future__ import annotations

from storage.migrate import current_revision, head_revision, migrate


def test_migrating_twice_applies_once(empty_database_url: str) -> None:
    assert current_revision(empty_database_url) is None
    applied = migrate(empty_database_url)
    assert applied == sorted(applied)
    assert applied[0] == "0001"
    assert applied[-1] == head_revision()
    assert migrate(empty_database_url) == []
    assert current_revision(empty_database_url) == head_revision()
