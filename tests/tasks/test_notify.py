"""Webhooks to real servers: signed, in order, again and again, and never to the wrong place."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from psycopg import sql

from chain.bitcoin_core import BitcoinCore
from contractcourt.advance import Verdict
from contractcourt.alarms import AlarmKind
from contractcourt.effects import AskLocalPoint, NotifyNode
from storage import alarms, cases, dead_letters, endpoints, letters, node_secrets, nodes, outbox
from storage.database import Connection, Database
from tasks import carrying_out, moving, notify, wakeups
from tasks.carrying_out import Advanced, Written
from tasks.environment import load_settings
from tasks.notify import deliver
from tasks.resources import Resources
from tasks.signer_client import SignerClient
from tasks.way import Way
from tests.conftest import free_port
from tests.storage import examples
from tests.tasks.mailbox import Mailbox

NODE = examples.NODE


@pytest.fixture
def held(
    db: Database, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Resources]:
    """A worker's resources; only the database is asked for anything here."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    settings = load_settings(
        database_url=database_url,
        allow_private_webhooks=True,
        webhook_refusals=3,
        webhook_key=examples.WEBHOOK_KEY,
    )
    nowhere = "http://127.0.0.1:9"
    with closing(BitcoinCore(nowhere)) as chain, closing(SignerClient(nowhere, "x" * 16)) as signer:
        yield Resources(os.getpid(), settings, db, chain, signer, Way("redis://127.0.0.1:9"))
    notify._post.cache_clear()


@pytest.fixture
def channel_id(db: Database) -> int:
    with db.transaction() as conn:
        examples.add_node(conn)
        return examples.open_channel(conn)


def listen_at(db: Database, url: str) -> str:
    """Where alice takes her webhooks; her secret."""
    with db.transaction() as conn:
        conn.execute("UPDATE nodes SET webhook_url = %s WHERE name = %s", (url, NODE))
        return node_secrets.valid(conn, examples.WEBHOOK_SEAL, NODE)[0]


def hangs_over_the_first(body: dict[str, Any]) -> int:
    """A node's server that is there, and never answers to letter 1."""
    return 504 if body["data"]["number"] == 1 else 200


def hangs_over_the_first_seven(body: dict[str, Any]) -> int:
    return 504 if body["data"]["number"] < notify.SIDE_BY_SIDE else 200


def tell(db: Database, channel_id: int, *numbers: int) -> list[int]:
    notices = [(channel_id, NotifyNode("channel.closing", {"number": n})) for n in numbers]
    return db.run(lambda conn: outbox.put_many(conn, notices))


def say(db: Database, channel_id: int) -> Written:
    """The law has the node told something, in the way that it always does."""

    def write(conn: Connection) -> Written:
        stored = cases.lock_one(conn, channel_id)
        verdict = Verdict(stored.case, (NotifyNode("channel.closing", {}), AskLocalPoint(1)))
        return carrying_out.write(conn, [Advanced(channel_id, stored.case, [verdict])])

    return db.run(write)


def test_letters_to_a_node_that_does_not_listen_are_for_the_record(
    db: Database, channel_id: int
) -> None:
    def letters_by_done() -> list[tuple[bool, int]]:
        asked = """
            SELECT sent_at IS NOT NULL, count(*) FROM outbox WHERE kind = 'notify_node'
            GROUP BY 1 ORDER BY 1
        """
        with db.transaction() as conn:
            return conn.execute(asked).fetchall()

    assert [kind for _, kind in say(db, channel_id).outbox] == ["ask_local_point"]
    assert letters_by_done() == [(True, 1)]
    listen_at(db, "http://127.0.0.1:9/")
    assert [kind for _, kind in say(db, channel_id).outbox] == ["notify_node", "ask_local_point"]
    assert letters_by_done() == [(False, 1), (True, 1)]


def at_once(db: Database) -> None:
    """Every pause is over."""
    with db.transaction() as conn:
        conn.execute("UPDATE outbox SET due_at = clock_timestamp() WHERE sent_at IS NULL")
        conn.execute("UPDATE webhook_endpoints SET open_until = clock_timestamp()")


def numbers(mailbox: Mailbox) -> list[int]:
    return [body["data"]["number"] for _, body in mailbox.messages]


def _row_of(message_id: str) -> int:
    return int(message_id.split("_")[1])


@pytest.fixture
def mailbox(db: Database, channel_id: int) -> Iterator[Mailbox]:
    """Alice's server; `channel_id` is her channel."""
    del channel_id
    with Mailbox(secret="") as server:
        server.secret = listen_at(db, server.url)
        yield server


def test_webhooks_arrive_signed_and_in_order(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    ids = tell(db, channel_id, 1, 2, 3)
    deliver(held, NODE)
    assert [_row_of(one) for one in mailbox.ids] == ids
    assert numbers(mailbox) == [1, 2, 3]
    assert mailbox.forged == 0
    assert all("missing" not in body for _, body in mailbox.messages)
    deliver(held, NODE)
    assert mailbox.asked == 3


def test_channels_do_not_wait_for_each_other_and_each_keeps_its_order(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    with db.transaction() as conn:
        others = [examples.open_channel(conn, n) for n in range(2, 12)]
    for channel in (channel_id, *others):
        tell(db, channel, *(channel * 100 + n for n in range(4)))
    deliver(held, NODE)
    for channel in (channel_id, *others):
        mine = [n for n in numbers(mailbox) if n // 100 == channel]
        assert mine == [channel * 100 + n for n in range(4)]


def test_both_secrets_sign_while_one_replaces_the_other(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    with db.transaction() as conn:
        new = node_secrets.rotate(conn, examples.WEBHOOK_SEAL, NODE, overlap_seconds=3600)
    tell(db, channel_id, 1)
    deliver(held, NODE)  # the node still knows the old one alone
    mailbox.secret = new
    tell(db, channel_id, 2)
    deliver(held, NODE)
    assert numbers(mailbox) == [1, 2]
    assert mailbox.forged == 0


def test_a_refused_one_is_tried_again_then_given_up_and_the_next_names_it(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    mailbox.rule = lambda body: 400 if body["data"]["number"] == 1 else 200
    first, second = tell(db, channel_id, 1, 2)
    for tried in range(1, 4):
        deliver(held, NODE)
        assert mailbox.asked == (tried if tried < 3 else 4)
        deliver(held, NODE)  # not before its pause is over
        at_once(db)
    [(message_id, body)] = mailbox.messages
    assert _row_of(message_id) == second
    [missing] = body["missing"]
    assert _row_of(missing) == first
    with db.transaction() as conn:
        [dead] = dead_letters.list_letters(conn)
        [alarm] = alarms.list_open(conn)
    assert (dead.id, dead.last_error) == (first, "it answered 400")
    assert alarm.kind == AlarmKind.DEAD_LETTER
    assert f"webhooks replay {first}" in alarm.message
    # Mended, and replayed: the same webhook-id, and nothing is missing any more.
    mailbox.rule = lambda _: 200
    with db.transaction() as conn:
        dead_letters.replay(conn, first)
    tell(db, channel_id, 3)
    deliver(held, NODE)
    assert mailbox.ids[1] == missing == dead.message_id
    assert numbers(mailbox) == [2, 1, 3]
    assert "missing" not in mailbox.messages[-1][1]


def test_a_letter_of_a_restored_backup_has_an_id_that_was_never_taken(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    """Its row has the number of one that was sent since the backup: a node drops what it knows."""
    [lost] = tell(db, channel_id, 1)
    deliver(held, NODE)
    with db.transaction() as conn:
        conn.execute("DELETE FROM outbox")
        conn.execute(sql.SQL("ALTER TABLE outbox ALTER id RESTART WITH {}").format(lost))
    assert tell(db, channel_id, 2) == [lost]
    deliver(held, NODE)
    assert numbers(mailbox) == [1, 2]
    assert len(set(mailbox.ids)) == 2


def test_an_answer_that_was_lost_means_the_same_webhook_id_again(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    [first] = tell(db, channel_id, 1)
    deliver(held, NODE)
    with db.transaction() as conn:  # as if the worker had died before it could note the answer
        conn.execute("UPDATE outbox SET sent_at = NULL")
    deliver(held, NODE)
    assert [_row_of(one) for one in mailbox.ids] == [first, first]
    assert len(set(mailbox.ids)) == 1
    assert mailbox.messages[0][1] == mailbox.messages[1][1]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_endpoint_that_is_away_costs_one_try_and_no_letter(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox, status: int
) -> None:
    mailbox.rule = lambda _: status
    tell(db, channel_id, 1, 2)
    for _ in range(5):
        deliver(held, NODE)
    assert mailbox.asked == 1
    for _ in range(5):
        at_once(db)
        deliver(held, NODE)
    assert mailbox.asked == 6
    with db.transaction() as conn:
        assert dead_letters.list_letters(conn) == []
    mailbox.rule = lambda _: 200
    at_once(db)
    deliver(held, NODE)
    assert numbers(mailbox) == [1, 2]


def test_a_silent_endpoint_alarms_once_and_the_alarm_is_over_with_the_silence(
    held: Resources, db: Database, channel_id: int
) -> None:
    tell(db, channel_id, 1)
    listen_at(db, f"http://127.0.0.1:{free_port()}/")
    for _ in range(12):
        deliver(held, NODE)
        at_once(db)
    with db.transaction() as conn:
        [alarm] = alarms.list_open(conn)
    assert (alarm.kind, alarm.node) == (AlarmKind.ENDPOINT_SILENT, NODE)
    with Mailbox("") as server:
        server.secret = listen_at(db, server.url)
        deliver(held, NODE)
        assert numbers(server) == [1]
    with db.transaction() as conn:
        assert alarms.list_open(conn) == []


def test_a_dead_endpoint_keeps_nobody_from_the_others(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    """It listens and never answers: a handful of letters ask it, and then it is left alone."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with db.transaction() as conn:
            nodes.add_node(conn, "bob", [examples.SWEEP_SCRIPT], url)
            node_secrets.issue(conn, examples.WEBHOOK_SEAL, "bob")
            for number in range(50, 90):
                channel = examples.open_channel(conn, number, "bob")
                outbox.put_many(
                    conn, [(channel, NotifyNode("channel.closing", {"number": number}))]
                )
        deliver(held, "bob")
        with db.transaction() as conn:
            [[asked]] = conn.execute("SELECT sum(attempts) FROM outbox").fetchall()
            assert asked == notify.SIDE_BY_SIDE
            assert endpoints.waiting(conn, 0) == []
        tell(db, channel_id, 1)
        deliver(held, "bob")
        deliver(held, NODE)
        assert numbers(mailbox) == [1]


def test_one_that_drips_its_answer_is_not_waited_for(
    held: Resources, db: Database, channel_id: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen_at(db, f"http://127.0.0.1:{server.getsockname()[1]}/")
        ended = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nx-drip: ")
                while not ended.wait(0.1):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        [letter] = tell(db, channel_id, 1)
        deliver(held, NODE)
        ended.set()
        thread.join()
    at_once(db)
    with db.transaction() as conn:
        [waiting] = letters.take(conn, NODE, 10)
    assert (waiting.id, waiting.attempts, waiting.refusals) == (letter, 1, 0)


def test_one_channel_whose_letter_is_never_answered_keeps_no_other_waiting(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    """The node's server hangs over that one, however often it is asked, and is not away."""
    mailbox.rule = hangs_over_the_first
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
    tell(db, channel_id, 1)
    for _ in range(4):
        deliver(held, NODE)
        at_once(db)
    deliver(held, NODE)
    assert mailbox.asked == 5
    tell(db, other, 2)
    deliver(held, NODE)
    assert numbers(mailbox) == [2]


def test_nor_do_a_few_such_channels(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    """After an hour in which nothing else was said, others waited for ten minutes."""
    mailbox.rule = hangs_over_the_first_seven
    with db.transaction() as conn:
        hung = [examples.open_channel(conn, number) for number in range(2, notify.SIDE_BY_SIDE)]
        other = examples.open_channel(conn, notify.SIDE_BY_SIDE)
    for number, channel in enumerate([channel_id, *hung], 1):
        tell(db, channel, number)
    for _ in range(4):
        at_once(db)
        deliver(held, NODE)
    tell(db, other, notify.SIDE_BY_SIDE)
    deliver(held, NODE)
    assert numbers(mailbox) == [notify.SIDE_BY_SIDE]


@pytest.mark.parametrize("url", ["the same", None])
def test_a_channel_that_waits_behind_a_letter_that_is_never_answered_is_alarmed(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox, url: str | None
) -> None:
    """The endpoint is not silent, as it takes what others are told: nobody would hear of it."""
    mailbox.rule = hangs_over_the_first
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
    tell(db, channel_id, 1)
    for number in range(2, 11):
        tell(db, other, number)
        at_once(db)
        deliver(held, NODE)
    with db.transaction() as conn:
        assert alarms.list_open(conn) == []
    tell(db, other, 11)
    for _ in range(3):
        at_once(db)
        deliver(held, NODE)
    with db.transaction() as conn:
        [alarm] = alarms.list_open(conn)
    assert (alarm.kind, alarm.channel_id) == (AlarmKind.ENDPOINT_SILENT, channel_id)
    assert "504" in alarm.message
    if url is None:
        db.run(lambda conn: moving.move(conn, NODE, None))
    else:
        mailbox.rule = lambda _: 200
        at_once(db)
        deliver(held, NODE)
        assert 1 in numbers(mailbox)
    with db.transaction() as conn:
        assert alarms.list_open(conn) == []


def test_a_letter_that_is_not_answered_is_not_asked_for_with_every_other(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    """Each time costs what a letter may take, and the others would wait for it."""
    mailbox.rule = hangs_over_the_first
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
    tell(db, channel_id, 1)
    tell(db, other, 2, 3, 4, 5)
    deliver(held, NODE)
    assert numbers(mailbox) == [2, 3, 4, 5]
    assert mailbox.asked == 5


def test_what_a_silent_endpoint_left_waiting_goes_out_with_its_first_answer(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    mailbox.rule = lambda _: 503
    with db.transaction() as conn:
        others = [examples.open_channel(conn, n) for n in range(2, 4)]
    tell(db, channel_id, 1)
    tell(db, others[0], 2)
    deliver(held, NODE)
    assert mailbox.asked == 2
    tell(db, others[1], 3)
    deliver(held, NODE)  # left alone
    assert mailbox.asked == 2
    mailbox.rule = lambda _: 200
    with db.transaction() as conn:
        conn.execute("UPDATE webhook_endpoints SET open_until = clock_timestamp()")
    deliver(held, NODE)
    assert sorted(numbers(mailbox)) == [1, 2, 3]


def test_a_redirect_is_not_followed(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    mailbox.rule = lambda _: 307
    tell(db, channel_id, 1)
    deliver(held, NODE)
    assert mailbox.asked == 1
    with db.transaction() as conn:
        row = conn.execute("SELECT refusals, last_error FROM outbox").fetchone()
    assert row == (1, "it answered 307")


def test_a_node_without_an_url_reads_the_docket(
    held: Resources, db: Database, channel_id: int
) -> None:
    tell(db, channel_id, 1, 2, 3)
    deliver(held, NODE)
    with db.transaction() as conn:
        assert letters.take(conn, NODE, 10) == []
        assert endpoints.list_all(conn)[0].last_answer_at is None


def test_alarms_reach_the_operator_by_the_same_way(
    held: Resources, db: Database, channel_id: int, database_url: str
) -> None:
    secret = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBub3RpZnk="
    with Mailbox(secret) as server:
        settings = load_settings(
            database_url=database_url,
            allow_private_webhooks=True,
            operator_webhook_url=server.url,
            operator_webhook_secret=secret,
        )
        told = dataclasses.replace(held, settings=settings)
        with db.transaction() as conn:
            alarms.raise_alarm(conn, channel_id, AlarmKind.BREACH, "a thief")
            alarms.clear_kind(conn, channel_id, AlarmKind.BREACH)
        deliver(told, endpoints.OPERATOR)
        assert server.types == ["alarm.raised", "alarm.cleared"]
        assert server.messages[0][1]["data"]["kind"] == "breach"
        assert server.forged == 0


def test_an_operator_who_refuses_is_not_told_of_that_by_another_letter(
    held: Resources, db: Database, channel_id: int, database_url: str
) -> None:
    secret = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBub3RpZnk="
    with Mailbox(secret, lambda _: 400) as server:
        settings = load_settings(
            database_url=database_url,
            allow_private_webhooks=True,
            webhook_refusals=1,
            operator_webhook_url=server.url,
            operator_webhook_secret=secret,
        )
        with db.transaction() as conn:
            alarms.raise_alarm(conn, channel_id, AlarmKind.BREACH, "a thief")
        deliver(dataclasses.replace(held, settings=settings), endpoints.OPERATOR)
    with db.transaction() as conn:
        assert [letter.endpoint for letter in dead_letters.list_letters(conn)] == ["@operator"]
        assert [alarm.kind for alarm in alarms.list_open(conn)] == [AlarmKind.BREACH]


def test_without_an_operators_url_nothing_piles_up(
    held: Resources, db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        alarms.raise_alarm(conn, channel_id, AlarmKind.BREACH, "a thief")
    deliver(held, endpoints.OPERATOR)
    with db.transaction() as conn:
        assert letters.take(conn, endpoints.OPERATOR, 10) == []


def test_what_comes_while_somebody_sends_is_sent_too(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    """The second wake-up finds the endpoint busy; the first sender finds the letter."""

    def one_more(body: dict[str, Any]) -> int:
        if body["data"]["number"] == 1:
            tell(db, channel_id, 2)
            deliver(held, NODE)
        return 200

    mailbox.rule = one_more
    tell(db, channel_id, 1)
    deliver(held, NODE)
    assert numbers(mailbox) == [1, 2]


def test_what_comes_when_the_sender_has_looked_for_the_last_time_is_woken_for(
    held: Resources,
    db: Database,
    channel_id: int,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    woken: list[str] = []
    release = endpoints.release

    def release_late(conn: Connection, name: str, claim_id: uuid.UUID) -> None:
        tell(db, channel_id, 2)
        deliver(held, NODE)  # Finds the endpoint busy.
        release(conn, name, claim_id)

    monkeypatch.setattr(endpoints, "release", release_late)
    monkeypatch.setattr(wakeups, "deliver", woken.extend)
    tell(db, channel_id, 1)
    deliver(held, NODE)
    assert (numbers(mailbox), woken) == ([1], [NODE])


def test_what_waits_goes_to_the_new_address_whatever_the_old_one_said(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    """One channel's letter was refused, and then nobody answered until it was alarmed."""
    mailbox.rule = lambda _: 400
    [refused] = tell(db, channel_id, 1)
    deliver(held, NODE)
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
    listen_at(db, f"http://127.0.0.1:{free_port()}/")
    [unanswered] = tell(db, other, 2)
    for _ in range(10):
        deliver(held, NODE)
        with db.transaction() as conn:
            conn.execute(
                "UPDATE outbox SET due_at = clock_timestamp() WHERE id = %s", (unanswered,)
            )
    deliver(held, NODE)
    with db.transaction() as conn:
        assert [alarm.kind for alarm in alarms.list_open(conn)] == [AlarmKind.ENDPOINT_SILENT]
        assert NODE not in endpoints.waiting(conn, 0)
    with Mailbox(mailbox.secret) as new:
        assert db.run(lambda conn: moving.move(conn, NODE, new.url))
        with db.transaction() as conn:
            assert NODE in endpoints.waiting(conn, 0)
            assert alarms.list_open(conn) == []
        deliver(held, NODE)
        assert sorted(_row_of(one) for one in new.ids) == sorted([refused, unanswered])
        assert not db.run(lambda conn: moving.move(conn, NODE, new.url))


def test_a_letter_that_can_t_be_read_keeps_no_other_channel_waiting(
    held: Resources, db: Database, channel_id: int, mailbox: Mailbox
) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
    [spoiled, _] = tell(db, channel_id, 1, 2)
    spoil = "UPDATE outbox SET effect = replace(effect, 'data', 'unheard_of') WHERE id = %s"
    db.run(lambda conn: conn.execute(spoil, [spoiled]))
    for number in range(3, 14):
        tell(db, other, number)
        at_once(db)
        deliver(held, NODE)
    assert numbers(mailbox) == list(range(3, 14))
    [alarm] = db.run(alarms.list_open)
    assert (alarm.kind, alarm.channel_id) == (AlarmKind.ENDPOINT_SILENT, channel_id)
    assert f"letter {spoiled}" in alarm.message
    mend = "UPDATE outbox SET effect = replace(effect, 'unheard_of', 'data') WHERE id = %s"
    db.run(lambda conn: conn.execute(mend, [spoiled]))
    at_once(db)
    deliver(held, NODE)
    assert numbers(mailbox)[-2:] == [1, 2]
    assert db.run(alarms.list_open) == []
