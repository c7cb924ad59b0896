"""An operator at the desk, on a court that runs: sees, is told, and acts.

The tests share one court and go in their order; each has a channel of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from selenium.webdriver import ActionChains, Keys

from contractcourt.channel import Direction
from tests.browser.browser import Browser
from tests.browser.conftest import Court
from workers.gateway.desk.sessions import COOKIE
from workers.simulation.channel import SimulatedChannel

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def sign_in(window: Browser, court: Court) -> None:
    window.open("/sign-in")
    window.type("#token", court.client.endpoints["operator_token"])
    window.click("main button")
    window.wait_text(".who", "operator")


def live(window: Browser) -> None:
    """Wait until the page listens, and mark it: a page that was loaded again is another one."""
    window.wait_text("#live", "live")
    window.driver.execute_script(
        """
        window.sameDocument = true;
        window.heard = "";
        const news = document.getElementById("news");
        new MutationObserver(() => { window.heard += `${news.textContent}\n`; })
          .observe(news, { childList: true });
        """
    )


def heard(window: Browser) -> str:
    """What a screen reader was told since."""
    return str(window.driver.execute_script("return window.heard"))


def is_same_document(window: Browser) -> bool:
    return bool(window.driver.execute_script("return window.sameDocument === true"))


def row_of(channel_point: str) -> str:
    """The selector of a channel's row among what is before the court."""
    return f'#before-the-court tr:has(a[href="/channels/{channel_point}"])'


def test_signing_in(window: Browser, court: Court) -> None:
    window.open("/sign-in")
    window.type("#token", "not the operator's token")
    window.click("main button")
    window.wait_text("#refused", "neither the operator")
    window.picture("sign-in", whole=False)
    sign_in(window, court)
    cookie = window.driver.get_cookie(COOKIE)
    assert cookie is not None
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert window.driver.execute_script("return document.cookie") == ""
    window.click(".who button")
    window.wait_text(".who", "Sign in")


def test_a_breach_appears_live_and_is_punished(window: Browser, court: Court) -> None:
    sim = SimulatedChannel("a cheater", capacity_sat=2_400_000, to_remote_msat=900_000_000)
    point = court.open(sim)
    height = court.client.height()
    court.tell(
        sim,
        *sim.whole_move(
            0,
            sim.htlc(1, Direction.OFFERED, 140_000_000, height + 120),
            sim.htlc(2, Direction.RECEIVED, 95_000_000, height + 130),
        ),
    )
    court.tell(sim, *sim.whole_move(30_000_000))
    sign_in(window, court)
    live(window)
    assert "breach" not in window.text(row_of(point))
    court.client.rpc("sendrawtransaction", sim.their_commitment_tx(1).serialize().hex())
    court.client.mine(1)
    window.wait_text(row_of(point), "breach", "soon", "waiting full resolution")
    window.wait_text("#verdict", "soon", "1 alarm", "at risk")
    assert is_same_document(window)
    window.wait(lambda: "is waiting full resolution" in heard(window), "it to be said aloud")
    window.picture("breach-on-the-board")
    # The case: each output is taken, before the eyes of who looks.
    window.click(f"{row_of(point)} a.id")
    live(window)
    window.wait_text("#close", "revoked to local", "revoked htlc", "not decided", "sweeping")
    window.picture("breach-case")
    court.client.wait_quiet(120)
    court.client.mine(1)
    window.wait_text("#close", "ours", "1 confirmation", "spent by")
    court.client.wait_quiet(120)
    court.client.mine(6)
    window.wait_text("#machine .path .present", "FULLY_RESOLVED")
    assert is_same_document(window)
    window.picture("breach-resolved")


def test_a_deadline_turns_red(window: Browser, court: Court) -> None:
    sim = SimulatedChannel("an HTLC", capacity_sat=1_500_000)
    point = court.open(sim)
    expiry = court.client.height() + 40
    court.tell(sim, *sim.whole_move(0, sim.htlc(1, Direction.OFFERED, 61_000_000, expiry)))
    sign_in(window, court)
    live(window)

    def colour() -> str:
        badge = window.find(f"{row_of(point)} .badge")
        return str(badge.value_of_css_property("background-color"))

    colours = []
    for blocks_left, word in ((40, "later"), (36, "soon"), (6, "urgent")):
        to_mine = expiry - blocks_left - court.client.height()
        if to_mine:
            court.client.mine(to_mine)
        window.wait_text(row_of(point), word, f"in {blocks_left} blocks")
        window.wait_text("#verdict", word)
        colours.append(colour())
    assert len(set(colours)) == 3
    red, green, _ = (int(part) for part in colours[-1].strip("rgba()").split(",")[:3])
    assert red > green
    assert window.driver.find_elements("css selector", "#ahead .bar.urgent")
    assert is_same_document(window)
    window.picture("deadline-urgent")


def test_a_force_close_pressed_twice_is_one(window: Browser, court: Court) -> None:
    sim = SimulatedChannel("a dead peer", capacity_sat=1_900_000)
    point = court.open(sim)
    sign_in(window, court)
    # Two tabs, both with the question on them.
    window.open(f"/channels/{point}")
    window.click("#force-close a.danger")
    window.find("#publish")
    first = window.driver.current_window_handle
    window.driver.switch_to.new_window("tab")
    window.open(f"/channels/{point}/force-close")
    second = window.driver.current_window_handle
    for tab in (first, second):
        window.driver.switch_to.window(tab)
        window.click("#publish")
        assert window.driver.current_url.endswith("/force-close"), "the box was not ticked"
        window.type("#reason", "the peer is gone")
        window.click("[name=sure]")
        if tab == first:
            window.picture("force-close", whole=False)
        ActionChains(window.driver).double_click(window.find("#publish")).perform()
        window.wait_text("#force-close", "Asked for by operator", "the peer is gone")
    window.wait_text("#force-close", "accepted")
    window.wait_text("#machine .path .present", "COMMITMENT_BROADCASTED")
    window.picture("force-close-asked")
    court.client.wait_quiet(120)
    entries = court.client.docket(point)["entries"]
    assert [entry["type"] for entry in entries].count("force_close_requested") == 1
    sent = court.client.channel(point)["broadcasts"]
    assert [one["purpose"] for one in sent].count("commitment") == 1


def test_a_dead_letter_is_replayed(window: Browser, court: Court) -> None:
    sim = SimulatedChannel("bob's", node="bob")
    court.open(sim)
    sign_in(window, court)
    window.open("/dead-letters")
    live(window)
    assert "No letter is dead" in window.text("#letters")
    court.client.rpc("sendrawtransaction", sim.cooperative_tx().serialize().hex())
    court.client.mine(1)
    window.wait_text("#letters", "channel.closing", "it answered 422", "bob")
    assert is_same_document(window)
    message = window.text("#letters tbody code")
    window.picture("dead-letters", whole=False)
    court.stubborn.refuses = False
    window.click_all("#letters form button")
    window.wait_text("#letters", "No letter is dead")
    window.wait(lambda: message in court.stubborn.taken, "the node to take it")
    assert court.stubborn.taken.count(message) == 1


Prepare = Callable[[Browser], None]


def on_a_desk(window: Browser) -> None:
    window.resize(1280, 900)


def on_a_phone(window: Browser) -> None:
    window.resize(390, 844)


def at_night(window: Browser) -> None:
    window.resize(1280, 900)
    window.prefer(dark=True)


@pytest.mark.parametrize("prepare", [on_a_desk, on_a_phone, at_night])
def test_no_serious_fault_of_accessibility(window: Browser, court: Court, prepare: Prepare) -> None:
    breached = next(
        found["channel_point"]
        for found in court.client.channels()
        if found["close_kind"] == "breach"
    )
    sim = SimulatedChannel(f"looked at {prepare.__name__}")
    closed = court.open(sim)
    court.client.wait_quiet(120)
    sign_in(window, court)
    prepare(window)
    pages = {
        "board": "/",
        "case": f"/channels/{breached}",
        "open-case": f"/channels/{closed}",
        "question": f"/channels/{closed}/force-close",
        "alarms": "/alarms",
        "letters": "/dead-letters",
        "sign-in-again": "/sign-in",
        "problem": "/channels/nonsense",
        "api": "/docs",
    }
    faults = {}
    for name, path in pages.items():
        window.open(path)
        if name in ("board", "case", "alarms"):
            window.wait_text("#live", "live")
        found = window.faults()
        width = window.driver.execute_script("return document.documentElement.scrollWidth")
        if width > window.width:
            found.append(f"{width} wide in {window.width}")
        if found:
            faults[name] = found
        window.picture(f"{prepare.__name__}-{name}")
        prepare(window)
    assert faults == {}
    complaints = [text for text in window.complaints() if "/channels/nonsense" not in text]
    assert complaints == []


def test_the_keyboard_alone_reaches_the_content(window: Browser, court: Court) -> None:
    sign_in(window, court)

    def press(key: str) -> None:
        ActionChains(window.driver).send_keys(key).perform()

    window.open("/")
    press(Keys.TAB)
    assert window.driver.switch_to.active_element.text == "Skip to the content"
    press(Keys.ENTER)
    press(Keys.TAB)
    inside = "return document.getElementById('main').contains(document.activeElement)"
    assert window.driver.execute_script(inside)
