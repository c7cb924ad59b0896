"""Who gets in at the desk, what a viewer may, and forms that come from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx2
import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.effects import NotifyNode
from storage import alarms, force_closes, letters, outbox
from storage.database import Database
from tests.workers.gateway.desk import Desk
from tests.workers.gateway.serving import (
    OPERATOR_TOKEN,
    VIEWER_TOKEN,
    GatewayClient,
    serving,
)
from tests.workers.gateway.test_gateway_reads import channel_id
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.gateway.desk import sessions
from workers.gateway.desk.sessions import COOKIE, Sessions
from workers.simulation.channel import SimulatedChannel

Open = Callable[[Access], Desk]


@pytest.fixture
def another(db: Database) -> Iterator[Open]:
    """Further gateways of the same court, with any tokens."""
    with ExitStack() as stack:

        def open_desk(access: Access) -> Desk:
            court = Court(db=db, access=access, metrics=metrics_of(db), wake=lambda _: None)
            desk = Desk(stack.enter_context(serving(create_app(court))))
            stack.callback(desk.http.close)
            return desk

        yield open_desk


@pytest.fixture
def desk(gateway: GatewayClient) -> Iterator[Desk]:
    desk = Desk(gateway.url)
    yield desk
    desk.http.close()


def closing_page(sim: SimulatedChannel) -> str:
    return f"/channels/{sim.funding_outpoint}/force-close"


def test_the_cookie_is_for_this_site_and_no_script(desk: Desk) -> None:
    desk.http.follow_redirects = False
    answer = desk.sign_in(OPERATOR_TOKEN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={sessions.LIFETIME_SECONDS}"):
        assert word in cookie
    assert OPERATOR_TOKEN not in cookie
    assert "Sign out" in desk.open("/")


def test_a_wrong_token_opens_nothing(desk: Desk) -> None:
    for token in ("", "wrong", OPERATOR_TOKEN + "x", "ö" * 30):
        answer = desk.sign_in(token)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "neither the operator" in answer.text


def test_a_session_is_known_to_every_gateway_until_the_token_changes(
    desk: Desk, another: Open
) -> None:
    desk.sign_in(OPERATOR_TOKEN)
    cookie = desk.http.cookies[COOKIE]
    same = another(Access(OPERATOR_TOKEN, VIEWER_TOKEN, protect_reads=True))
    same.http.cookies.set(COOKIE, cookie)
    assert "Sign out" in same.open("/")
    changed = another(Access("another operator token", VIEWER_TOKEN, protect_reads=True))
    changed.http.cookies.set(COOKIE, cookie)
    changed.open("/")
    assert changed.page.status_code == 401


def test_a_session_ends_and_cannot_be_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Sessions(Access(OPERATOR_TOKEN, VIEWER_TOKEN))
    cookie = opened.open(OPERATOR_TOKEN)
    assert cookie is not None
    session = opened.read(cookie)
    assert session is not None
    assert session.role == "operator"
    viewer = opened.open(VIEWER_TOKEN)
    assert viewer is not None
    seen = opened.read(viewer)
    assert seen is not None
    assert seen.role == "viewer"
    for forged in (cookie[:-1], cookie[1:], "x" + cookie, viewer[:8] + cookie[8:], "", "é"):
        assert opened.read(forged) is None
    monkeypatch.setattr(sessions, "LIFETIME_SECONDS", -1)
    assert opened.read(cookie) is None


def test_reading_closed_to_strangers_asks_for_a_token_and_goes_on(another: Open) -> None:
    desk = another(Access(OPERATOR_TOKEN, VIEWER_TOKEN, protect_reads=True))
    for path in ("/", "/alarms", f"/channels/{'ab' * 32}:0", "/stream"):
        desk.open(path)
        assert desk.page.status_code == 401, path
    desk.open("/?state=DEFAULT")
    assert desk.send("/sign-in", token=VIEWER_TOKEN).status_code == 200
    assert desk.page.url.query == b"state=DEFAULT"
    bearer = {"Authorization": f"Bearer {VIEWER_TOKEN}"}
    with httpx2.Client(base_url=desk.url, headers=bearer) as tokened:
        assert tokened.get("/").status_code == 200


def test_signing_in_leads_to_this_site_only(desk: Desk) -> None:
    for next_page in ("//evil.example/", "https://evil.example", "/\\evil.example", "/a\r\nb: c"):
        desk.open("/sign-in")
        answer = desk.send("/sign-in", token=OPERATOR_TOKEN, next=next_page)
        assert str(answer.url) == f"{desk.url}/"


def test_signing_out_forgets(desk: Desk) -> None:
    desk.sign_in(OPERATOR_TOKEN)
    desk.open("/")
    desk.send("/sign-out")
    assert COOKIE not in desk.http.cookies
    assert "Sign in" in desk.open("/")


def test_a_viewer_sees_no_button_and_may_press_none(
    desk: Desk, gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    with gateway.db.transaction() as conn:
        alarms.raise_alarm(conn, channel_id(conn, opened), AlarmKind.BREACH, "look at it")
        [alarm] = alarms.list_open(conn)
    desk.sign_in(VIEWER_TOKEN)
    assert "Force close" not in desk.open(f"/channels/{opened.funding_outpoint}")
    assert "Dealt with" not in desk.open("/alarms")
    before = gateway.counts()
    desk.open(closing_page(opened))
    assert desk.page.status_code == 403
    desk.open("/")
    for path in (closing_page(opened), f"/alarms/{alarm.id}/clear"):
        assert desk.send(path, sure="yes", key="k" * 32).status_code == 403
    assert gateway.counts() == before
    with gateway.db.transaction() as conn:
        assert len(alarms.list_open(conn)) == 1


def test_a_stranger_is_asked_to_sign_in_before_acting(
    desk: Desk, gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    before = gateway.counts()
    desk.open(closing_page(opened))
    assert desk.page.status_code == 401
    assert desk.send(closing_page(opened), sure="yes", key="k" * 32).status_code == 401
    # A bearer token is for the API: no other site's form can carry one, but neither ours.
    bearer = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    answer = desk.http.post(closing_page(opened), data={"sure": "yes"}, headers=bearer)
    assert answer.status_code == 401
    assert gateway.counts() == before


def test_a_force_close_asks_twice_and_may_be_pressed_twice(
    desk: Desk, gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    desk.sign_in(OPERATOR_TOKEN)
    assert "asked once more" in desk.open(f"/channels/{opened.funding_outpoint}")
    form = desk.open(closing_page(opened))
    before = gateway.counts()
    assert desk.send(closing_page(opened), reason="no tick").status_code == 422
    assert gateway.counts() == before

    def press() -> str:
        desk.page = httpx2.Response(200, text=form)
        return desk.send(closing_page(opened), sure="yes", reason="peer is gone").text

    for _ in range(2):
        shown = press()
        assert "“peer is gone”" in shown
        assert "Force close …" not in shown
    assert gateway.counts()[0] == before[0] + 1
    with gateway.db.transaction() as conn:
        asked = force_closes.find(conn, channel_id(conn, opened))
    assert asked is not None
    assert (asked.requested_by, asked.reason) == ("operator", "peer is gone")
    assert "asked for already" in desk.open(closing_page(opened))
    assert gateway.wakes[-1].channels


def test_a_form_of_another_site_or_session_changes_nothing(
    desk: Desk, gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    desk.sign_in(OPERATOR_TOKEN)
    desk.open(closing_page(opened))
    before = gateway.counts()
    path = closing_page(opened)
    assert desk.send(path, sure="yes", form_token="").status_code == 403
    other = Desk(gateway.url)
    other.sign_in(OPERATOR_TOKEN)
    theirs = re_token(other.open(path))
    other.http.close()
    desk.open(path)
    assert desk.send(path, sure="yes", form_token=theirs).status_code == 403
    desk.open(path)
    desk.http.headers["sec-fetch-site"] = "cross-site"
    assert desk.send(path, sure="yes").status_code == 403
    desk.http.headers["sec-fetch-site"] = "same-origin"
    for content, kind in ((b'{"sure": "yes"}', "application/json"), (b"\xff=1", _FORM), (b"a", "")):
        answer = desk.http.post(path, content=content, headers={"content-type": kind})
        assert answer.status_code == 400
    assert gateway.counts() == before


_FORM = "application/x-www-form-urlencoded"


def re_token(text: str) -> str:
    """The form token that a page carries."""
    return text.partition('name="form_token" value="')[2].partition('"')[0]


def test_an_alarm_that_was_dealt_with_is_cleared_once(
    desk: Desk, gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    with gateway.db.transaction() as conn:
        alarms.raise_alarm(conn, channel_id(conn, opened), AlarmKind.BREACH, "look at it")
        [alarm] = alarms.list_open(conn)
    desk.sign_in(OPERATOR_TOKEN)
    for _ in range(2):
        desk.open("/")
        assert desk.send(f"/alarms/{alarm.id}/clear").status_code == 200
    assert "No alarm is open" in desk.open("/alarms")


def test_a_dead_letter_is_seen_by_all_and_sent_again_by_the_operator(
    desk: Desk, gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    with gateway.db.transaction() as conn:
        told = NotifyNode("channel.closing", {"stage": "seen"})
        letter = outbox.put_many(conn, [(channel_id(conn, opened), told)])[0]
        assert letters.mark_refused(conn, letter, "it answered <i>422</i>", 1)
    path = f"/dead-letters/{letter}/replay"
    desk.sign_in(VIEWER_TOKEN)
    seen = desk.open("/dead-letters")
    assert "channel.closing" in seen
    assert "&lt;i&gt;422" in seen
    assert "Send again" not in seen
    assert "1 dead letter" in desk.open("/")
    assert desk.send(path).status_code == 403
    desk.sign_in(OPERATOR_TOKEN)
    for _ in range(2):
        desk.open("/")
        assert desk.send(path).status_code == 200
    assert "No letter is dead" in desk.open("/dead-letters")
    assert [wake.effects for wake in gateway.wakes].count(((letter, "notify_node"),)) == 2
    with gateway.db.transaction() as conn:
        assert [row.id for row in outbox.unsent(conn, channel_id(conn, opened))] == [letter]
    desk.open("/")
    assert desk.send("/dead-letters/999999/replay").status_code == 404
