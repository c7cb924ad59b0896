"""A node's policy, what the sweeper set aside, and alarms, on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.effects import SweepOutput
from contractcourt.node_account import NodeAccount
from contractcourt.policy import Policy
from contractcourt.units import Satoshi
from storage import (
    alarms,
    cases,
    channels,
    docket,
    nodes,
    sweep_inputs,
    sweep_progress,
    sweep_rounds,
)
from storage.database import Database
from storage.sweep_inputs import Wish
from tasks import policies, reserve
from tasks.arbitration import arbitrate
from tasks.proof import replay
from tests.storage import examples
from tests.storage.examples import outpoint
from tests.workers.test_cli import Run, court, open_channel, run
from workers.cli.exits import Exit
from workers.gateway import account_view

__all__ = ["court", "run"]


def policy_of(db: Database, point: str) -> Policy:
    """The policy of a channel's case, after all that waits is applied."""
    with db.transaction() as conn:
        row = next(r for r in channels.list_channels(conn) if str(r.channel_point) == point)
    arbitrate(db, [row.id])
    with db.transaction() as conn:
        stored = cases.read(conn, row.id)
        assert stored is not None
        assert replay(conn, stored) == stored.case  # the docket alone tells it too
    return stored.case.policy


def test_a_policy_holds_for_open_channels_and_for_those_to_come(court: Run, db: Database) -> None:
    before = open_channel(db, 1)
    changed = court(
        "node", "policy", "alice", "--set", "final_depth=3", "--set", "budget_percent=80", "--json"
    )
    assert changed.code == Exit.OK, changed.err
    assert json.loads(changed.out)["told"] == 1
    after = open_channel(db, 2)
    for point in (before, after):
        policy = policy_of(db, point)
        assert (policy.final_depth, policy.budget_percent) == (3, 80)
        assert policy.incoming_broadcast_delta == 16
    assert court("node", "policy", "alice", "--reset").code == Exit.OK
    assert policy_of(db, before) == policy_of(db, after) == Policy()


def test_a_policy_is_shown_without_being_changed(court: Run, db: Database) -> None:
    point = open_channel(db)
    shown = court("node", "policy", "alice", "--json")
    assert json.loads(shown.out)["policy"]["final_depth"] == 6
    with db.transaction() as conn:
        [row] = channels.list_channels(conn)
        assert str(row.channel_point) == point
        assert [e.source for e in docket.entries(conn, row.id)] == ["node", "chain"]


@pytest.mark.parametrize(
    "change",
    [
        "final_depth=0",
        "budget_percent=101",
        "final_depth",
        "depth=3",
        "final_depth=x",
        f"give_up_blocks={'9' * 5_000}",
    ],
)
def test_a_policy_out_of_bounds_changes_nothing(court: Run, db: Database, change: str) -> None:
    open_channel(db)
    refused = court("node", "policy", "alice", "--set", change)
    assert refused.code == Exit.USAGE
    with db.transaction() as conn:
        node = nodes.get_node(conn, "alice")
    assert node is not None
    assert node.policy is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("final_depth=0", "final_depth must be >= 1"),
        ("final_depth=-1", "final_depth must be >= 1"),
        ("final_depth=2017", "final_depth must be <= 2016"),
        ("give_up_blocks=" + "9" * 20, "is not FIELD=NUMBER"),
        ("final_depth=\u0661", "is not FIELD=NUMBER"),
    ],
)
def test_a_number_out_of_bounds_is_told_its_bounds(
    court: Run, db: Database, change: str, words: str
) -> None:
    """As Python's reader of JSON said it, or that the field is none."""
    open_channel(db)
    refused = court("node", "policy", "alice", "--set", change)
    assert refused.code == Exit.USAGE
    assert words in refused.err


def test_an_unknown_node_has_no_policy(court: Run, db: Database) -> None:
    assert court("node", "policy", "nobody").code == Exit.FAILED
    with pytest.raises(Exception, match="nobody"):
        policies.change(db, "nobody", Policy())


@pytest.mark.parametrize(
    "command",
    [
        ("channels", "--node"),
        ("account", "--node"),
        ("webhooks", "list", "--node"),
        ("webhooks", "replay", "--node"),
        ("node", "policy"),
    ],
)
def test_a_mistyped_node_is_not_taken_for_one_of_which_there_is_nothing(
    court: Run, db: Database, command: tuple[str, ...]
) -> None:
    """`webhooks replay` said that it had sent all of them again."""
    open_channel(db)
    assert court(*command, examples.NODE).code == Exit.OK
    refused = court(*command, "alcie")
    assert refused.code == Exit.FAILED
    assert "no node alcie is registered" in refused.err


def quarantine(db: Database) -> None:
    channel = examples.channel(1)
    want = SweepOutput(examples.contract(5), examples.SWEEP_SCRIPT, budget_sat=Satoshi(9))
    with db.transaction() as conn:
        row = channels.find(conn, channel.channel_point)
        assert row is not None
        sweep_inputs.want(conn, [(row.id, Wish(channel, want, Policy()))])
        sweep_progress.quarantine(conn, outpoint(5), "no such key")


def test_l6_what_is_quarantined_is_listed_and_released(court: Run, db: Database) -> None:
    open_channel(db)
    assert court("sweep", "list").out.strip() == "nothing is in quarantine"
    quarantine(db)
    [held] = json.loads(court("sweep", "list", "--json").out)
    assert (held["outpoint"], held["reason"]) == (str(outpoint(5)), "no such key")
    with db.transaction() as conn:
        assert sweep_inputs.free(conn, "alice") == []
    released = court("sweep", "release", str(outpoint(5)))
    assert released.code == Exit.OK, released.err
    with db.transaction() as conn:
        assert [one.outpoint for one in sweep_inputs.free(conn, "alice")] == [outpoint(5)]
        assert sweep_rounds.waiting(conn) == ["alice"]
    again = court("sweep", "release", str(outpoint(5)))
    assert again.code == Exit.FAILED
    assert "not in quarantine" in again.err


def test_l10_an_alarm_names_the_shortfall_until_the_wallet_holds_enough(
    court: Run, db: Database
) -> None:
    open_channel(db, 1)
    open_channel(db, 2)
    with db.transaction() as conn:
        reserve.check(conn)
        reserve.check(conn)
    [alarm] = json.loads(court("alarms", "--json").out)
    assert (alarm["about"], alarm["kind"]) == ("alice", "fee_wallet_reserve")
    assert "lacks 2 coins of 10000 sat each (20000 sat)" in alarm["message"]
    with db.transaction() as conn:
        examples.give_coins(conn, "alice", 9_999, 25_000)
        reserve.check(conn)
        [restated] = alarms.list_open(conn)
        assert "lacks 1 coins of 10000 sat each (10000 sat)" in restated.message
    with db.transaction() as conn:
        examples.give_coins(conn, "alice", 10_000)
        reserve.check(conn)
    assert court("alarms").out.strip() == "no alarm is open"


def test_alarms_say_what_happened_and_where_it_stands_what_to_do(court: Run, db: Database) -> None:
    """The column of the messages was headed "what to do", which few of them say."""
    with db.transaction() as conn:
        alarms.raise_alarm(conn, None, AlarmKind.SOURCES_DIFFER, "on another branch")
    shown = court("alarms").out
    page = re.search(r"what to do: (\S+)\)", shown)
    assert page is not None
    assert "### sources_differ" in (Path(__file__).parents[2] / page[1]).read_text()
    assert "on another branch" in shown


def test_an_alarm_is_cleared_by_its_id_and_raised_again(court: Run, db: Database) -> None:
    with db.transaction() as conn:
        for kind in (AlarmKind.BREACH, AlarmKind.SIGNER_AWAY):
            alarms.raise_alarm(conn, None, kind, "look")
    first, second = (one["id"] for one in json.loads(court("alarms", "--json").out))
    refused = court("alarms", "clear", str(first), "999")
    assert (refused.code, "999" in refused.err) == (Exit.FAILED, True)
    assert len(json.loads(court("alarms", "--json").out)) == 2
    assert court("alarms", "clear", str(first), str(second)).code == Exit.OK
    assert json.loads(court("alarms", "--json").out) == []
    with db.transaction() as conn:
        assert alarms.raise_alarm(conn, None, AlarmKind.BREACH, "look")


def test_l10_no_more_is_reserved_than_for_ten_channels(db: Database) -> None:
    for n in range(1, 13):
        open_channel(db, n)
    with db.transaction() as conn:
        reserve.check(conn)
        [alarm] = alarms.list_open(conn)
        assert "lacks 10 coins of 10000 sat each (100000 sat)" in alarm.message
        assert "for its 10 or more channels" in alarm.message
        examples.give_coins(conn, "alice", *range(10_000, 10_010))
        reserve.check(conn)
        assert alarms.list_open(conn) == []


def test_the_account_of_an_open_channel(court: Run, db: Database) -> None:
    point = open_channel(db)
    told = json.loads(court("account", point, "--json").out)
    assert (told["final"], told["open_sat"], told["lines"]) == (False, 1_000_000, [])
    shown = court("account", point).out
    assert "the channel is open" in shown
    assert "1 000 000 sat, the capacity" in shown
    assert court("account", str(outpoint(77))).code == Exit.FAILED


def test_l25_the_account_of_a_node_adds_its_channels_up(court: Run, db: Database) -> None:
    points = [open_channel(db, number) for number in range(1, 6)]
    single = [json.loads(court("account", point, "--json").out) for point in points]
    shown = court("account", "--node", "alice", "--json")
    assert shown.code == Exit.OK, shown.err
    total = json.loads(shown.out)
    assert (total["channels"], total["final"]) == (5, 0)
    for field in ("capacity_sat", "open_sat", "fees_sat", "lost_sat"):
        assert total[field] == sum(one[field] for one in single)
    assert "5, of which 0 are final" in court("account", "--node", "alice").out
    # In pages, as a large node's channels are read, it is the same.
    with db.transaction() as conn:
        pages, after = NodeAccount(), 0
        while True:
            page, following = account_view.of_node(conn, "alice", after=after, limit=2)
            pages = pages.plus(page)
            if following is None:
                break
            after = following
        assert pages == account_view.of_node(conn, "alice")[0]
    assert court("account", "--node", "nobody").code == Exit.FAILED
    assert court("account").code == Exit.USAGE
    assert court("account", points[0], "--node", "alice").code == Exit.USAGE
