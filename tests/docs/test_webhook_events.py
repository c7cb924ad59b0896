"""The page of webhook events: what is sent, and nothing else, stands on it with its words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Direction
from docs.generate import letters, webhooks
from docs.generate.letters import Sent
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import LARGE_MSAT, begun
from tests.scenarios.test_breach_scenarios import cheated, steal
from workers.gateway.payloads import EVENT_TYPES, UpdateStep

_MODULE = """
def gone(hearing):
    _tell(hearing, "a.gone", "lost")

def back(hearing):
    _tell(hearing, event_type="a.back", why="found")

def _tell(hearing, event_type, why):
    hearing.notify(event_type, why=why, size=len(why), **hearing.about)

risk = Risk(about={"outpoint": 1})
"""


def stories() -> Iterator[MemoryCourt]:
    """A breach in which something is lost, and a force close over an HTLC that times out."""
    court, sim = cheated("events of a breach", ANCHORS_ZERO_FEE_HTLC)
    steal(court, sim, "main")
    court.mine(300)
    yield court
    court, sim = begun("events of a close", ANCHORS_ZERO_FEE_HTLC)
    expiry = court.height + 40
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    court.mine(300)
    yield court


def test_what_the_law_tells_is_what_the_page_says() -> None:
    fields = letters.to_node()
    met = set()
    for court in stories():
        for notice in court.notices():
            met.add(notice.event_type)
            known = {field.name: field for field in fields[notice.event_type]}
            assert set(notice.data) <= set(known)
            assert {name for name, field in known.items() if field.always} <= set(notice.data)
            for name, value in notice.data.items():
                _fits(notice.event_type, known[name], value)
    assert met >= {"breach.seen", "breach.settled", "deadline.at_risk", "htlc.failed"}
    assert met >= {"channel.closing", "channel.closed", "contract.resolved"}


def _fits(event_type: str, field: Sent, value: object) -> None:
    kind, _ = webhooks.described(event_type, field)
    where = f"{event_type}.{field.name} is {value!r}, said to be {kind}"
    if value is None:
        assert kind.endswith("or null"), where
    elif isinstance(value, bool):
        assert kind == "true or false", where
    elif isinstance(value, int):
        assert kind.startswith("integer"), where
    else:
        assert kind.startswith(("string", "one of")), where
        assert value in field.values or not field.values, where
        assert f"`{value}`" in kind or not kind.startswith("one of"), where


def test_a_type_that_callers_name_is_read_from_them() -> None:
    gone, back = sorted(letters.calls(_MODULE), key=lambda call: call.event_type, reverse=True)
    assert (gone.event_type, back.event_type) == ("a.gone", "a.back")
    assert dict(gone.always) == {"why": {"lost", "found"}, "size": frozenset()}
    assert gone.sometimes == {"outpoint"}


@pytest.mark.parametrize(
    "source",
    [
        "def tell(hearing, of):\n    hearing.notify(of.type, height=1)",
        "def tell(hearing, more):\n    hearing.notify('a.told', **more)",
        "def tell(hearing, risk):\n    hearing.notify('a.told', **risk.about)",
    ],
)
def test_a_call_that_can_t_be_followed_is_refused(source: str) -> None:
    with pytest.raises(letters.Unreadable, match="tell"):
        list(letters.calls(source))


def test_a_field_without_words_is_refused_and_so_are_words_without_a_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(webhooks.Undescribed, match="nobody_knows"):
        webhooks.described("channel.closed", Sent("nobody_knows", True, ()))
    monkeypatch.setitem(webhooks._FIELDS, "never_sent", ("integer", "nothing"))
    with pytest.raises(webhooks.Undescribed, match="never_sent"):
        webhooks.write()


def test_a_type_without_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(webhooks._WHEN, "breach.seen")
    with pytest.raises(webhooks.Undescribed, match=r"breach\.seen"):
        webhooks.write()


def test_every_type_and_field_stands_on_the_page() -> None:
    page = webhooks.write()
    sent = letters.to_node() | letters.to_operator()
    for event_type in (*EVENT_TYPES, *sent):
        assert f"\n### {event_type}\n" in page
    for name in (*UpdateStep.model_fields, "alarm_id", "won_sat", "cltv_expiry", "index"):
        assert f"\n| `{name}` | " in page
