"""The shared real parts start and answer."""

from __future__ import annotations

import redis

from storage.database import Database


def test_a_fresh_database_is_migrated_and_empty(db: Database) -> None:
    with db.transaction() as conn:
        assert conn.execute("SELECT count(*) FROM channels").fetchone() == (0,)


def test_redis_answers_and_is_new_enough_for_kombu(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()
        major, minor = str(client.info()["redis_version"]).split(".")[:2]
    assert (int(major), int(minor)) >= (6, 2)
