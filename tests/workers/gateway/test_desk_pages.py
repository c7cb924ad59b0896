"""What the desk shows: lists and their filters, one case as a picture, everything escaped."""

from __future__ import annotations

import re

import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.case import STEPS_FORWARD, State
from contractcourt.channel import Direction
from contractcourt.effects import HTLC_DUE, WakeAt
from contractcourt.events import SpendUnconfirmed
from contractcourt.units import BlockHash, BlockHeight, Satoshi
from storage import alarms, at_risk, board, deadlines, sight
from storage import blocks as block_table
from storage.at_risk import HeightSum
from storage.board import Wanted
from tasks.arbitration import apply_at_the_door
from tests.spent import SOME_BLOCK
from tests.tasks.opened import show_unheard_of, store_unheard_of
from tests.workers.gateway.serving import GatewayClient, channel_of
from tests.workers.gateway.test_gateway_reads import channel_id, close_cooperatively
from workers.gateway.desk import board as board_page
from workers.gateway.desk import timeline
from workers.gateway.desk.machine_picture import picture
from workers.gateway.desk.risk import Risk, risk_of
from workers.simulation.channel import SimulatedChannel


def listed(page: str) -> list[str]:
    """The channels of the list, without those above it."""
    found = page.partition('id="found"')[2]
    return re.findall(r'<th scope="row"[^>]*><a class="id" href="/channels/([^"]+)"', found)


def at_height(gateway: GatewayClient, height: int) -> None:
    with gateway.db.transaction() as conn:
        block_table.init_cursor(conn, BlockHeight(height), BlockHash(bytes(32)))


def test_the_policy_allows_nothing_but_our_own_files(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    for path in ("/", f"/channels/{opened.funding_outpoint}", "/alarms", "/sign-in", "/docs"):
        answer = gateway.http.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script(?! src=)|\son\w+=|\sstyle=|<style|javascript:", answer.text)
        for address in re.findall(r'(?:src|href)="([^"]*)"', answer.text):
            assert address.startswith(("/", "#")), address
            if address.startswith("/static/"):
                file = gateway.http.get(address)
                assert file.status_code == 200
                assert "immutable" in file.headers["cache-control"]


def test_an_old_address_of_a_file_is_answered_and_not_kept(gateway: GatewayClient) -> None:
    old = gateway.http.get("/static/0123456789abcdef/desk.js")
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-store")
    assert gateway.http.get("/static/0123456789abcdef/desk.py").status_code == 404


def test_the_list_by_node_state_kind_and_page(gateway: GatewayClient) -> None:
    gateway.add_node("bob", channel_of(node="bob").sweep_script)
    sims = [channel_of(f"desk {n}", node="bob" if n % 2 else "alice") for n in range(5)]
    for sim in sims:
        gateway.open(sim)
        gateway.update(sim, sim.first_update())
    close_cooperatively(gateway, sims[2])
    points = [str(sim.funding_outpoint) for sim in sims]
    for query, expected in (
        ("", points),
        ("?node=bob", [points[1], points[3]]),
        ("?state=FULLY_RESOLVED", [points[2]]),
        ("?kind=cooperative", [points[2]]),
        ("?kind=breach", []),
        ("?node=bob&state=FULLY_RESOLVED", []),
        ("?node=&state=&kind=&risk=", points),
        ("?node=nobody%22%3E%3Cb%3E", []),
    ):
        page = gateway.http.get("/" + query)
        assert page.status_code == 200
        assert listed(page.text) == expected, query


def test_a_channel_in_a_state_of_a_newer_version_is_shown_as_such(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    """Which kind of close it was may be new as well."""
    close_cooperatively(gateway, opened)
    with gateway.db.transaction() as conn:
        newer = channel_id(conn, opened)
        show_unheard_of(conn, newer)
        conn.execute(
            "ALTER TABLE channel_resolutions DROP CONSTRAINT channel_resolutions_close_kind_check"
        )
        conn.execute("UPDATE channel_resolutions SET close_kind = 'unheard_of'")
    store_unheard_of(gateway.db, newer)
    point = str(opened.funding_outpoint)
    page = gateway.http.get("/")
    assert (page.status_code, listed(page.text)) == (200, [point])
    [told] = gateway.http.get("/v1/channels").json()["channels"]
    assert (told["state"], told["close_kind"]) == ("UNHEARD_OF", "unheard_of")
    with gateway.db.transaction() as conn:
        assert sight.look(conn, [newer]).cases[newer].state == "UNHEARD_OF"
    case = gateway.http.get(f"/channels/{point}")
    assert (case.status_code, "only a newer version can read it" in case.text) == (503, True)


def test_filters_that_there_are_not_are_refused(gateway: GatewayClient) -> None:
    for query in (
        "state=CLOSED",
        "kind=x",
        "risk=calm",
        "after=-1",
        f"after={'9' * 30}",
        "node=%00",
    ):
        answer = gateway.http.get(f"/?{query}")
        assert answer.status_code == 422, query
        assert answer.headers["content-type"].startswith("text/html")


def test_pages_go_by_key(gateway: GatewayClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.gateway.desk.board.PAGE_ROWS", 2)
    sims = [channel_of(f"desk {n}") for n in range(5)]
    for sim in sims:
        gateway.open(sim)
    seen: list[str] = []
    path = "/?state=DEFAULT"
    for _ in range(3):
        page = gateway.http.get(path).text
        seen += listed(page)
        following = re.search(r'<a rel="next" href="([^"#]+)', page)
        if following is None:
            break
        path = following[1].replace("&amp;", "&")
    assert seen == [str(sim.funding_outpoint) for sim in sims]


def test_risk_is_told_in_words_and_found_by_them(gateway: GatewayClient) -> None:
    sims = [channel_of(f"desk {n}") for n in range(5)]
    at_height(gateway, 800)
    with_deadline = zip(sims[:4], (799, 804, 830, 900), strict=True)
    for sim in sims:
        gateway.open(sim)
    with gateway.db.transaction() as conn:
        for sim, height in with_deadline:
            wake = WakeAt(BlockHeight(height), HTLC_DUE, Satoshi(20_000))
            deadlines.add(conn, channel_id(conn, sim), wake)
        harmless = WakeAt(BlockHeight(801), "to_local matures", Satoshi(70_000))
        deadlines.add(conn, channel_id(conn, sims[4]), harmless)
        alarms.raise_alarm(conn, channel_id(conn, sims[4]), AlarmKind.BREACH, "look at it")
    points = [str(sim.funding_outpoint) for sim in sims]
    for risk, expected in (
        ("overdue", points[:1]),
        ("urgent", points[:2]),
        ("soon", points[:3]),
        ("alarm", points[4:]),
    ):
        assert listed(gateway.http.get(f"/?risk={risk}").text) == expected, risk
    page = gateway.http.get("/").text
    verdict = re.search(r'<section id="verdict" class="verdict (\w+)"', page)
    assert verdict is not None
    assert verdict[1] == "overdue"
    assert "80\u202f000" in page
    for word in ("overdue", "urgent", "soon", "later", "calm"):
        assert f'<span class="badge {word}">{word}</span>' in page
    assert "appointment" in page


def test_a_channel_that_is_closed_is_at_risk_by_its_contracts_alone(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    htlc = opened.htlc(1, Direction.OFFERED, 20_000_000, 910)
    assert gateway.update(opened, *opened.whole_move(0, htlc)).status_code == 202
    with gateway.db.transaction() as conn:
        ours = channel_id(conn, opened)
        assert at_risk.of_channels(conn, [ours])[ours].value_sat == 20_000
        assert [one.channel_id for one in at_risk.most_pressing(conn, 10)] == [ours]
    at_height(gateway, 800)
    told = 'contractcourt_value_at_risk_sat{within_blocks="144"}'
    assert gateway.metric(told) == 20_000
    close_cooperatively(gateway, opened)
    with gateway.db.transaction() as conn:
        assert at_risk.of_channels(conn, [ours]) == {}
    assert gateway.metric(told) == 0
    with gateway.db.transaction() as conn:
        assert board.choose(conn, Wanted(due_by=BlockHeight(2**31 - 1))) == []
    gone = SpendUnconfirmed(
        opened.channel.funding_outpoint,
        opened.cooperative_tx().txid(),
        SOME_BLOCK,
        BlockHeight(99),
    )
    with gateway.db.transaction() as conn:
        apply_at_the_door(conn, ours, gone, idempotency_key="gone", source="chain")
        assert at_risk.of_channels(conn, [ours])[ours].value_sat == 20_000, "a reorg took it back"


def test_counts_stop_at_a_bound(gateway: GatewayClient) -> None:
    for number in range(3):
        gateway.open(channel_of(f"desk {number}"))
    with gateway.db.transaction() as conn:
        assert board.count_states(conn, 2)[State.DEFAULT] == 2
        assert board.count_states(conn, 9)[State.DEFAULT] == 3


def test_the_first_line_tells_of_the_whole_court_and_not_of_what_the_page_has_room_for(
    gateway: GatewayClient, opened: SimulatedChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_page, "_BEFORE_THE_COURT", 1)
    other = channel_of("desk other")
    gateway.open(other)
    at_height(gateway, 800)
    with gateway.db.transaction() as conn:
        for sim, height in ((opened, 801), (other, 802)):
            wake = WakeAt(BlockHeight(height), HTLC_DUE, Satoshi(20_000))
            deadlines.add(conn, channel_id(conn, sim), wake)
        many = [(None, None, AlarmKind.LAW_BROKEN, f"older {n}") for n in range(1_000)]
        alarms.raise_many(conn, many)
        alarms.raise_alarm(conn, channel_id(conn, opened), AlarmKind.BREACH, "the newest")
        conn.execute(
            """
            INSERT INTO dead_letters (id, endpoint, kind, effect, attempts, last_error, created_at)
            SELECT n, 'alice', 'notify_node', 'x', 1, '', now() FROM generate_series(1, 101) AS n
            """
        )
    page = gateway.http.get("/").text
    verdict = page.partition('id="verdict"')[2].partition("</section>")[0]
    for words in ("40\u202f000</span> sat at risk", "1\u202f001 alarms", "the newest", "101 dead"):
        assert words in verdict, words
    assert ">1 alarm</a>" in page.partition('id="found"')[2]
    assert "The oldest 1\u202f000 of 1\u202f001" in gateway.http.get("/alarms").text


def test_what_is_measured_is_said_with_its_unit(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    """Whoever reads a page at night, far from the court, must not guess a time's zone."""
    at_height(gateway, 700)
    with gateway.db.transaction() as conn:
        due = WakeAt(BlockHeight(720), HTLC_DUE, Satoshi(20_000))
        deadlines.add(conn, channel_id(conn, opened), due)
    case = gateway.http.get(f"/channels/{opened.funding_outpoint}").text
    times = re.findall(r"<time[^>]*>([^<]*)</time>", case)
    assert times
    assert all(time.endswith(" UTC") for time in times)
    assert "satoshi by block height" in gateway.http.get("/").text


def test_everything_that_came_from_outside_is_escaped(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    nasty = "<script>alert(1)</script>\"'>&"
    with gateway.db.transaction() as conn:
        alarms.raise_alarm(conn, channel_id(conn, opened), AlarmKind.BREACH, nasty)
        wake = WakeAt(BlockHeight(900), nasty, Satoshi(5))
        deadlines.add(conn, channel_id(conn, opened), wake)
    gateway.operator(f"/v1/channels/{opened.funding_outpoint}/force-close", reason=nasty)
    for path in ("/", "/alarms", f"/channels/{opened.funding_outpoint}"):
        text = gateway.http.get(path).text
        assert "&lt;script&gt;alert(1)" in text
        assert "<script>" not in text
    assert "<b>x" not in gateway.http.get("/?node=<b>x").text


def test_a_case_shows_its_outputs_as_a_tree_and_its_way(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    txid = close_cooperatively(gateway, opened)
    page = gateway.http.get(f"/channels/{opened.funding_outpoint}").text
    assert "cooperative close" in page
    for index in range(2):
        assert f"{txid}:{index}" in page
    assert page.count('<li class="branch won-agreed calm">') == 2
    assert 'class="arrow taken"' in page
    # What was the peer's from the start is not lost.
    assert "<dt>The peer’s</dt>" in page
    assert "<dt>Lost</dt>" not in page
    assert "1 of 1 applied" not in page
    steps = re.search(r'<p class="path">(.*?)</p>', page)
    assert steps is not None
    assert re.findall(r"[A-Z_]{5,}", steps[1]) == ["DEFAULT", "FULLY_RESOLVED"]


def test_the_docket_beneath_is_newest_first_and_blanked(
    gateway: GatewayClient, opened: SimulatedChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    htlc = opened.htlc(1, Direction.RECEIVED, 20_000_000, 700)
    gateway.update(opened, *opened.whole_move(0, htlc))
    preimage = str(opened.preimage(1))
    gateway.send("preimage.learned", {"payment_hash": str(htlc.payment_hash), "preimage": preimage})
    monkeypatch.setattr("workers.gateway.desk.case_file.DOCKET_ROWS", 3)
    page = gateway.http.get(f"/channels/{opened.funding_outpoint}").text
    assert re.findall(r'id="entry-(\d+)"', page) == ["4", "3", "2"]
    assert preimage not in page
    assert str(opened.theirs.revoke(0)) not in page
    older = gateway.http.get(f"/channels/{opened.funding_outpoint}?before=2").text
    assert re.findall(r'id="entry-(\d+)"', older) == ["1"]


def test_pages_that_there_are_not_say_so_to_people(gateway: GatewayClient) -> None:
    for path, status in ((f"/channels/{'ab' * 32}:0", 404), ("/channels/nonsense", 422)):
        answer = gateway.http.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")
        assert "Back to the docket" in answer.text


# -- the pictures --


def test_the_picture_draws_every_step_of_the_law_and_the_way_taken() -> None:
    calm = picture([State.DEFAULT])
    assert {box.state for box in calm.boxes} == set(State)
    assert len(calm.arrows) == len(STEPS_FORWARD)
    assert not any(arrow.taken for arrow in calm.arrows)
    there_and_back = [State.DEFAULT, State.CONTRACT_CLOSED, State.DEFAULT, State.CONTRACT_CLOSED]
    drawn = picture(there_and_back)
    assert sorted(arrow.taken for arrow in drawn.arrows if arrow.taken) == ["1, 3", "2"]
    assert [arrow.taken for arrow in drawn.arrows if arrow.back] == ["2"]
    assert [box.state for box in drawn.boxes if box.present] == [State.CONTRACT_CLOSED]


def test_a_deadline_turns_red_as_blocks_pass() -> None:
    seen = [risk_of(900, height) for height in (700, 863, 864, 894, 899, 900, 950)]
    assert seen == [
        Risk.LATER,
        Risk.LATER,
        Risk.SOON,
        Risk.URGENT,
        Risk.URGENT,
        Risk.OVERDUE,
        Risk.OVERDUE,
    ]
    assert risk_of(None, 900) is Risk.CALM


def test_the_timeline_stays_within_its_frame() -> None:
    sums = [
        HeightSum(BlockHeight(height), pressing, 1, Satoshi(value))
        for height, pressing, value in (
            (795, True, 1),
            (800, True, 21_000_000 * 100_000_000),
            (801, False, 0),
            (944, True, 50_000),
        )
    ]
    drawn = timeline.timeline(sums, 800)
    assert [bar.risk for bar in drawn.bars] == [
        Risk.OVERDUE,
        Risk.OVERDUE,
        Risk.CALM,
        Risk.LATER,
    ]
    for bar in drawn.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= timeline.WIDTH
        assert 0 <= bar.y <= bar.y + bar.tall <= timeline.HEIGHT
    assert drawn.bars[0].x < drawn.now_x < drawn.bars[-1].x
    assert timeline.timeline([], 800).bars == ()


def test_an_htlc_that_was_settled_is_at_risk_no_more(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    """Else a node that routes payments, each settled in a second, shows losses for a day."""
    at_height(gateway, 100)

    def at_risk_sat() -> int:
        with gateway.db.transaction() as conn:
            return at_risk.total(conn, 10)[0]

    htlcs = [opened.htlc(n, Direction.OFFERED, 20_000_000, 700 + n) for n in range(2)]
    assert gateway.update(opened, *opened.whole_move(0, *htlcs)).status_code == 202
    assert at_risk_sat() == 40_000
    assert gateway.update(opened, *opened.whole_move(0, htlcs[1])).status_code == 202
    assert at_risk_sat() == 20_000
    assert gateway.update(opened, *opened.whole_move(20_000_000)).status_code == 202
    assert at_risk_sat() == 0
    assert 'class="verdict calm"' in gateway.http.get("/").text
