"""The command line: plain words, exit codes, and nothing changed by bad input."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import HTLC_DUE, WakeAt
from contractcourt.events import ChannelOpened, HeightReached
from contractcourt.units import BlockHeight, Satoshi
from storage import alarms, channels, deadlines, force_closes, node_secrets, nodes
from storage.database import Database
from tasks import arbitration
from tasks.environment import load_settings
from tasks.settings import LONGEST_OVERLAP_SECONDS
from tasks.signer_client import SignerClient
from tasks.webhook_key import webhook_seal
from tests.conftest import free_port
from tests.storage import examples
from tests.tasks import opened
from workers.cli import main
from workers.cli.exits import MEANINGS, Exit

SWEEP_SCRIPT = str(examples.SWEEP_SCRIPT)


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run one command in a folder where no `up` ever ran."""
    monkeypatch.chdir(tmp_path)
    # Commands set up the logs of their process, which is not ours to keep.
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers[:])
    monkeypatch.setattr(root, "level", root.level)

    def command(*arguments: str) -> Ended:
        capsys.readouterr()  # what the test itself has logged
        with pytest.raises(SystemExit) as left:
            main(arguments)
        captured = capsys.readouterr()
        return Ended(int(left.value.code or 0), captured.out, captured.err)

    return command


@pytest.fixture
def court(run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commands on a fresh migrated database; nothing else of the court runs."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return run


def open_channel(db: Database, number: int = 1) -> str:
    """A channel with one event that its case has applied."""
    channel = examples.channel(number)
    with db.transaction() as conn:
        if nodes.get_node(conn, channel.node) is None:
            nodes.add_node(conn, channel.node, [examples.SWEEP_SCRIPT])
        registered = arbitration.open_channel(
            conn, ChannelOpened(channel), idempotency_key="open", source="node"
        )
        assert registered is not None
        arbitration.apply_at_the_door(
            conn,
            registered[0],
            HeightReached(BlockHeight(7)),
            idempotency_key="height",
            source="chain",
        )
    return str(channel.channel_point)


def test_a_node_is_added_listed_and_given_a_new_secret(court: Run, db: Database) -> None:
    added = court("node", "add", "alice", "--sweep-script", SWEEP_SCRIPT)
    assert added.code == Exit.OK
    [secret] = [line for line in added.out.splitlines() if line.startswith("whsec_")]
    rotated = court("node", "rotate-secret", "alice", "--json")
    fresh = json.loads(rotated.out)["webhook_secret"]
    with db.transaction() as conn:
        assert node_secrets.valid(conn, webhook_seal(load_settings()), "alice") == (fresh, secret)
    listed = court("node", "list", "--json")
    assert [one["name"] for one in json.loads(listed.out)] == ["alice"]
    assert secret not in listed.out
    assert fresh not in listed.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("alice", "--sweep-script", "zz"),
        ("alice", "--sweep-script", "6a"),
        ("alice", "--sweep-script", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"),
        ("alice",),
        ("", "--sweep-script", SWEEP_SCRIPT),
        ("a/b", "--sweep-script", SWEEP_SCRIPT),
        ("alice", "--sweep-script", SWEEP_SCRIPT, "--webhook-url", "ftp://x"),
    ],
)
def test_a_wrong_node_changes_nothing(court: Run, db: Database, arguments: tuple[str]) -> None:
    refused = court("node", "add", *arguments)
    assert refused.code == Exit.USAGE
    with db.transaction() as conn:
        assert nodes.list_nodes(conn) == []


def test_a_name_is_taken_once(court: Run) -> None:
    court("node", "add", "alice", "--sweep-script", SWEEP_SCRIPT)
    again = court("node", "add", "alice", "--sweep-script", SWEEP_SCRIPT)
    assert (again.code, again.err.strip()) == (
        Exit.FAILED,
        "contractcourt: node alice is registered already",
    )
    assert court("node", "rotate-secret", "bob").code == Exit.FAILED


def test_a_channel_is_shown_with_every_process_down(court: Run, db: Database) -> None:
    point = open_channel(db)
    [listed] = json.loads(court("channels", "--json").out)
    assert (listed["channel_point"], listed["state"]) == (point, "DEFAULT")
    case = json.loads(court("channel", point, "--json").out)
    assert (case["best_height"], case["applied_seq"], case["last_seq"]) == (7, 2, 2)
    entries = json.loads(court("docket", point, "--json").out)
    assert [entry["type"] for entry in entries] == ["channel_opened", "height_reached"]
    assert json.loads(court("deadlines", "--json").out) == []
    for command in (("channels",), ("channel", point), ("docket", point), ("deadlines",)):
        shown = court(*command)
        assert (shown.code, shown.err) == (Exit.OK, "")
    assert point in court("channels").out


def test_an_htlc_of_which_two_deadlines_tell_is_at_risk_once(court: Run, db: Database) -> None:
    open_channel(db)
    due = WakeAt(BlockHeight(90), HTLC_DUE, Satoshi(50_000), urgent=True)
    reminder = WakeAt(BlockHeight(80), "the HTLC comes near its height", Satoshi(50_000))
    with db.transaction() as conn:
        row = channels.find(conn, examples.channel(1).channel_point)
        assert row is not None
        deadlines.add_many(conn, [(row.id, due), (row.id, reminder)])
    assert court("deadlines").out.endswith("\n50 000 sat would be lost by waiting\n")


def test_an_alarm_in_brackets_is_shown_as_it_is(court: Run, db: Database) -> None:
    """As msgspec and Postgres say where something is wrong; rich takes brackets for its own."""
    point = open_channel(db)
    with db.transaction() as conn:
        row = channels.find(conn, OutPoint.parse(point))
        assert row is not None
        said = "Expected `int` - at `key` in `$[str]`, not [/x]"
        alarms.raise_alarm(conn, row.id, AlarmKind.LAW_BROKEN, said)
    shown = court("channel", point)
    assert shown.code == Exit.OK, shown.err
    assert said in shown.out


def test_channels_are_chosen_by_state_and_node(court: Run, db: Database) -> None:
    points = [open_channel(db, number) for number in (1, 2, 3)]
    listed = json.loads(court("channels", "--json", "--limit", "2").out)
    assert [one["channel_point"] for one in listed] == points[:2]
    assert json.loads(court("channels", "--json", "--state", "fully_resolved").out) == []
    assert len(json.loads(court("channels", "--json", "--node", examples.NODE).out)) == 3
    assert court("channels", "--state", "closed").code == Exit.USAGE


@pytest.mark.parametrize(
    "command",
    [
        ("channels", "--limit"),
        ("deadlines", "--limit"),
        ("docket", f"{'00' * 32}:0", "--limit"),
        ("docket", f"{'00' * 32}:0", "--after"),
        ("alarms", "clear"),
        ("webhooks", "replay"),
        ("node", "rotate-secret", "alice", "--overlap"),
    ],
)
def test_a_number_that_postgres_has_no_room_for_is_a_wrong_argument(
    court: Run, command: tuple[str, ...]
) -> None:
    court("node", "add", "alice", "--sweep-script", SWEEP_SCRIPT)
    refused = court(*command, str(2**63))
    assert refused.code == Exit.USAGE
    assert "less than or equal to" in refused.err
    assert court(*command, str(LONGEST_OVERLAP_SECONDS)).code in (Exit.OK, Exit.FAILED)


def test_a_case_that_was_told_of_no_block_says_so(court: Run, db: Database) -> None:
    """It said height 0, as if the court stood there."""
    channel = examples.channel(3)
    with db.transaction() as conn:
        nodes.add_node(conn, channel.node, [examples.SWEEP_SCRIPT])
        opened = ChannelOpened(channel)
        arbitration.open_channel(conn, opened, idempotency_key="open", source="node")
    point = str(channel.channel_point)
    assert json.loads(court("channel", point, "--json").out)["best_height"] is None
    assert re.search("last look +none yet", court("channel", point).out)
    told = court("channel", open_channel(db)).out
    assert re.search("last look +height 7", told)


def test_what_is_due_next_says_what_waiting_would_lose(court: Run, db: Database) -> None:
    point = open_channel(db)
    with db.transaction() as conn:
        row = channels.find(conn, OutPoint.parse(point))
        assert row is not None
        deadlines.add(conn, row.id, WakeAt(BlockHeight(700), "an HTLC is due", Satoshi(20_000)))
    shown = court("channel", point).out
    assert "height 700: an HTLC is due (20 000 sat at risk)" in shown


def test_the_version_is_said(run: Run) -> None:
    """What to say in a report, and whether an upgrade has come here; there was no such option."""
    told = run("--version")
    assert told.code == Exit.OK
    assert told.out.strip() == version("contractcourt")


def test_one_channel_is_no_channels(court: Run, db: Database) -> None:
    open_channel(db)
    assert "1 channel audited" in court("audit").out


def test_the_audit_proves_every_case(court: Run, db: Database) -> None:
    point = open_channel(db)
    open_channel(db, 2)
    assert court("audit").code == Exit.OK
    assert json.loads(court("audit", "--json").out) == {
        "audited": 2,
        "overdue": 0,
        "differences": [],
        "more": 0,
    }
    assert json.loads(court("audit", point, "--json").out)["audited"] == 1


def test_the_audit_finds_a_case_that_the_law_did_not_make(court: Run, db: Database) -> None:
    point = open_channel(db)
    with db.transaction() as conn:
        conn.execute("SET LOCAL session_replication_role = replica")  # past the schema's guards
        conn.execute(
            "UPDATE cases SET case_json = replace(case_json, %s, %s)",
            ('"best_height":7', '"best_height":8'),
        )
    audited = court("audit", "--json")
    assert audited.code == Exit.FAILED
    assert json.loads(audited.out)["differences"] == [
        {"channel_point": point, "field": "best_height", "stored": 8, "replayed": 7}
    ]


def test_the_audit_finds_a_state_that_is_not_the_cases(court: Run, db: Database) -> None:
    open_channel(db)
    with db.transaction() as conn:
        conn.execute("UPDATE channels SET state = 'BROADCAST_COMMIT'")
    [difference] = json.loads(court("audit", "--json").out)["differences"]
    assert (difference["field"], difference["stored"]) == ("channels.state", "BROADCAST_COMMIT")


def test_a_force_close_needs_a_commitment(court: Run, db: Database) -> None:
    point = open_channel(db)
    refused = court("force-close", point, "--reason", "peer is gone")
    assert refused.code == Exit.FAILED
    assert "commitment" in refused.err
    with db.transaction() as conn:
        [row] = channels.list_channels(conn)
    assert row.last_seq == 2


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[2J", "\udcff", "x" * 501])
def test_a_reason_is_one_line_that_a_page_can_show(court: Run, db: Database, reason: str) -> None:
    """It can't be taken out of the docket again; a byte that is no text ended in a traceback."""
    refused = court("force-close", open_channel(db), "--reason", reason)
    assert refused.code == Exit.USAGE
    assert "one line" in refused.err


def test_a_force_close_is_asked_for_by_a_user_whom_the_system_has_no_name_for(
    court: Run, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that is run under any number: it ended in a traceback."""
    sim, channel_id = opened.open_channel(db, "nameless")
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    asked = court("force-close", str(sim.channel.channel_point))
    assert (asked.code, asked.err) == (Exit.OK, "")
    with db.transaction() as conn:
        request = force_closes.find(conn, channel_id)
    assert request is not None
    assert request.requested_by == "operator:4000000000"


@pytest.mark.parametrize("queues", ["urgent-sweeps", "arbitrate, publish", ""])
def test_a_worker_takes_from_queues_that_there_are(court: Run, queues: str) -> None:
    """It said that it was ready, and did nothing for ever."""
    refused = court("worker", "--queues", queues)
    assert refused.code == Exit.USAGE
    assert "urgent_sweeps" in refused.err


def test_a_file_that_is_in_the_way_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITCOIND_URL", "http://court:hunter2@127.0.0.1:18443")
    (tmp_path / "file").touch()
    refused = run("devnet", "--chain-dir", str(tmp_path / "file" / "chain"))
    assert (refused.code, refused.err.strip()) == (
        Exit.FAILED,
        f"contractcourt: {tmp_path / 'file' / 'chain'}: Not a directory",
    )


@pytest.mark.parametrize("command", [("channels", "--node"), ("node", "rotate-secret")])
def test_an_argument_that_is_no_text_shows_no_traceback(
    court: Run, command: tuple[str, str]
) -> None:
    """As the shell hands on a byte of another encoding."""
    refused = court(*command, "al\udcffce")
    assert refused.code == Exit.USAGE
    assert "no UTF-8 text" in refused.err


@pytest.mark.parametrize("command", ["channel", "docket", "audit", "force-close"])
def test_an_unknown_channel_is_said_to_be_unknown(court: Run, command: str) -> None:
    unknown = court(command, f"{'00' * 32}:0")
    assert unknown.code == Exit.FAILED
    assert "was opened here" in unknown.err
    assert court(command, "not-a-channel-point").code == Exit.USAGE


def test_keys_need_a_signer_and_a_file(court: Run, tmp_path: Path) -> None:
    assert court("keys", "import", str(tmp_path / "none.json")).code == Exit.USAGE
    file = tmp_path / "keys.json"
    file.write_text("{}")
    missing = court("keys", "import", str(file))
    assert missing.code == Exit.USAGE
    assert "CONTRACTCOURT_SIGNER_URL" in missing.err


def test_keys_are_read_from_stdin_where_no_file_of_theirs_can_be_reached(
    court: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command in a container sees no file of the host's, and leaves none behind."""
    monkeypatch.setenv("CONTRACTCOURT_SIGNER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CONTRACTCOURT_SIGNER_TOKEN", "t" * 32)
    told: list[bytes] = []

    def import_keys(_: SignerClient, document: bytes) -> str:
        told.append(document)
        return "channel 00:0"

    monkeypatch.setattr(SignerClient, "import_keys", import_keys)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"node": "alice"}')))
    imported = court("keys", "import", "-")
    assert (imported.code, told) == (Exit.OK, [b'{"node": "alice"}'])
    assert "delete" not in imported.out


def test_a_signer_that_is_away_is_named(
    court: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTRACTCOURT_SIGNER_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("CONTRACTCOURT_SIGNER_TOKEN", "t" * 32)
    file = tmp_path / "keys.json"
    file.write_text("{}")
    away = court("keys", "import", str(file))
    assert away.code == Exit.UNAVAILABLE
    assert "signer did not answer" in away.err


def test_postgres_that_is_away_is_named_without_its_password(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("DATABASE_URL", f"postgresql://court:hunter2@127.0.0.1:{port}/court")
    away = run("channels")
    assert away.code == Exit.UNAVAILABLE
    assert "Postgres does not answer" in away.err
    assert f"port {port} failed: Connection refused" in away.err
    assert "hunter2" not in away.err


def test_a_database_without_schema_is_told_to_migrate(
    run: Run, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert "contractcourt migrate" in run("channels").err
    first = run("migrate")
    assert first.code == Exit.OK
    assert "applied 0001" in first.out
    assert "applied" not in run("migrate").out
    assert run("channels").code == Exit.OK


def test_nothing_set_says_what_to_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    told = run("channels")
    assert told.code == Exit.USAGE
    assert "DATABASE_URL" in told.err


def test_a_mistyped_setting_stops_every_command(
    court: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTRACTCOURT_NETWROK", "main")
    for command in (("channels",), ("node", "list"), ("migrate",), ("up",), ("doctor",)):
        stopped = court(*command)
        assert stopped.code == Exit.USAGE, command
        assert "CONTRACTCOURT_NETWROK" in stopped.err


def test_exit_codes_are_those_that_help_and_the_page_tell(run: Run) -> None:
    told = " ".join(run("--help").out.split())
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    assert set(MEANINGS) == set(Exit)
    for code, words in MEANINGS.items():
        assert f"{code.value} {words}" in told
        assert f"| {code.value} | {words} |" in page


def test_every_command_explains_itself(run: Run) -> None:
    everything = run("--help")
    assert everything.code == Exit.OK
    names = (
        "demo up replay watch channels channel docket deadlines audit doctor force-close node keys"
    )
    names += " alarms sweep account migrate watcher gateway worker beat signer devnet"
    for name in names.split():
        assert f" {name} " in everything.out
        assert run(name, "--help").code == Exit.OK
    assert run("bogus").code == Exit.USAGE


def url_of(db: Database, name: str) -> str | None:
    with db.transaction() as conn:
        node = nodes.get_node(conn, name)
    assert node is not None
    return node.webhook_url


def test_where_a_node_takes_its_webhooks_is_changed(court: Run, db: Database) -> None:
    court("node", "add", "alice", "--sweep-script", SWEEP_SCRIPT)
    url = "https://alice.example.org/court"
    changed = court("node", "webhook-url", "alice", url)
    assert changed.code == Exit.OK, changed.err
    assert (url in changed.out, url_of(db, "alice")) == (True, url)
    again = court("node", "webhook-url", "alice", url, "--json")
    assert json.loads(again.out) == {"name": "alice", "webhook_url": url, "changed": False}
    assert court("node", "webhook-url", "alice", "--none").code == Exit.OK
    assert url_of(db, "alice") is None
    assert court("node", "webhook-url", "alice", "--none").out.strip().endswith("as before")


@pytest.mark.parametrize("arguments", [(), ("ftp://x",), ("https://x.example/", "--none")])
def test_a_wrong_address_changes_nothing(
    court: Run, db: Database, arguments: tuple[str, ...]
) -> None:
    url = "https://alice.example.org/court"
    court("node", "add", "alice", "--sweep-script", SWEEP_SCRIPT, "--webhook-url", url)
    assert court("node", "webhook-url", "alice", *arguments).code == Exit.USAGE
    assert url_of(db, "alice") == url
    unknown = court("node", "webhook-url", "bob", url)
    assert (unknown.code, "no node bob" in unknown.err) == (Exit.FAILED, True)


_INTERRUPTED_IMPORT = """
import sys

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
from workers.cli import main
main(["channels"])
"""


@pytest.mark.parametrize("module", ["structlog", "typer", "psycopg"])
def test_ctrl_c_while_a_command_is_read_in_shows_no_traceback(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_IMPORT.format(module=module)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (Exit.INTERRUPTED, "")


def test_a_replay_that_could_not_write_what_came_of_it_never_begins(
    run: Run, tmp_path: Path
) -> None:
    told = run("replay", str(tmp_path), "--json", str(tmp_path / "missing" / "told.json"))
    assert told.code == Exit.USAGE
    assert "can't be written" in told.err


@pytest.mark.parametrize("arguments", [("doctor",), ("--help",), ("deadlines", "--json")])
def test_a_reader_that_went_away_is_no_failure(
    database_url: str, arguments: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "workers.cli", *arguments]
    with os.fdopen(writing, "w") as unread:
        ended = subprocess.run(
            command,
            stdout=unread,
            stderr=subprocess.PIPE,
            env={**os.environ, "DATABASE_URL": database_url},
            text=True,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (Exit.UNREAD, "")
