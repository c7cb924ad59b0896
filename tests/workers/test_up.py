"""`contractcourt up` on a machine with nothing but Python: it starts, it serves, it leaves."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest
from rich.console import Console

from tests.workers.running_up import RunningUp, cli
from workers.embedded.passage import allow_passage
from workers.process import Account
from workers.up import summary

SWEEP_SCRIPT = "0014" + "ab" * 20
NOBODY = 65534


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningUp]]:
    """Two courts that were started at the same moment on one machine."""
    folder = tmp_path_factory.mktemp("neighbours")
    started = [RunningUp(folder / name) for name in ("one", "two")]
    try:
        for up in started:
            up.wait_ready()
        yield started
    finally:
        for up in started:
            up.kill()


def endpoints_of(up: RunningUp) -> dict[str, str]:
    endpoints: dict[str, str] = json.loads((up.folder / "endpoints.json").read_bytes())
    return endpoints


def test_every_part_is_announced_to_its_owner_alone(neighbours: list[RunningUp]) -> None:
    path = neighbours[0].folder / "endpoints.json"
    endpoints = endpoints_of(neighbours[0])
    assert {"gateway", "flower", "postgres", "redis", "bitcoind"} <= endpoints.keys()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert urlsplit(endpoints["postgres"]).scheme == "postgresql"
    assert urlsplit(endpoints["redis"]).scheme == "redis"
    for name in ("gateway", "flower", "bitcoind"):
        assert urlsplit(endpoints[name]).scheme == "http"


def test_neighbours_share_nothing(neighbours: list[RunningUp]) -> None:
    one, two = (endpoints_of(up) for up in neighbours)
    shared = {name for name in one if one[name] == two[name]}
    assert shared == {"network", "allow_private_webhooks"}


def test_every_server_listens_on_loopback_alone(neighbours: list[RunningUp]) -> None:
    up = neighbours[0]
    for process in up.processes():
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1", process.cmdline()


def test_no_password_stands_in_a_command_line_or_on_the_screen(
    neighbours: list[RunningUp],
) -> None:
    up = neighbours[0]
    endpoints = endpoints_of(up)
    secrets = [endpoints["operator_token"], endpoints["signer_token"]]
    secrets += [urlsplit(endpoints[name]).password or "" for name in ("postgres", "redis")]
    shown = up.words() + " ".join(" ".join(p.cmdline()) for p in up.processes())
    assert all(secret and secret not in shown for secret in secrets)


def test_flower_shows_the_worker(neighbours: list[RunningUp]) -> None:
    flower = endpoints_of(neighbours[0])["flower"]
    page = httpx2.get(f"{flower}/workers", timeout=20)
    assert page.status_code == 200
    assert "court@" in page.text


def test_the_gateway_is_ready_and_the_page_is_there(neighbours: list[RunningUp]) -> None:
    gateway = endpoints_of(neighbours[0])["gateway"]
    for path in ("/healthz", "/readyz", "/", "/docs", "/metrics"):
        assert httpx2.get(f"{gateway}{path}", timeout=20).status_code == 200, path


def test_the_doctor_finds_nothing(neighbours: list[RunningUp]) -> None:
    examined = cli(neighbours[0].folder, "doctor", "--json")
    findings = json.loads(examined.stdout)
    assert {f["part"] for f in findings} >= {"postgres", "redis", "bitcoind", "signer", "watcher"}
    assert [f for f in findings if f["is_wrong"]] == []
    assert examined.returncode == 0


def test_a_court_is_found_by_its_folder(neighbours: list[RunningUp]) -> None:
    one, two = (up.folder for up in neighbours)
    assert cli(one, "node", "add", "alice", "--sweep-script", SWEEP_SCRIPT).returncode == 0
    assert "alice" in cli(one, "node", "list").stdout
    assert "alice" not in cli(two, "node", "list").stdout


def test_a_node_beside_the_court_is_registered_with_its_own_address(
    neighbours: list[RunningUp],
) -> None:
    added = cli(
        neighbours[0].folder,
        *("node", "add", "beside", "--sweep-script", SWEEP_SCRIPT),
        *("--webhook-url", "http://127.0.0.1:9735/court"),
    )
    assert (added.returncode, added.stderr) == (0, "")


def test_a_folder_serves_one_court_at_a_time(neighbours: list[RunningUp]) -> None:
    refused = cli(neighbours[0].folder, "up")
    assert refused.returncode == 1
    assert "another `contractcourt up` runs" in refused.stderr
    assert endpoints_of(neighbours[0])  # and the first one is still announced


def test_a_port_that_is_in_use_is_not_taken(neighbours: list[RunningUp], tmp_path: Path) -> None:
    port = urlsplit(endpoints_of(neighbours[0])["gateway"]).port
    refused = cli(tmp_path / "third", "up", "--port", str(port))
    assert refused.returncode == 1
    assert f"port {port} for the gateway: Address already in use" in refused.stderr


def test_a_port_that_this_user_may_not_have_is_not_said_to_be_in_use(
    ordinary_user: Person,
) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if lowest < 2:
        pytest.skip("any user may listen on any port here")
    up = RunningUp(ordinary_user.home / "court", "--port", "1", prefix=ordinary_user.prefix)
    assert up.popen.wait(60) == 1
    assert "port 1 for the gateway: Permission denied" in up.words()


def test_every_address_is_whole_in_a_narrow_terminal_and_commands_can_be_pasted(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "my court"
    endpoints = dict.fromkeys(("gateway", "flower", "signer", "redis", "bitcoind"), "http://h:1")
    endpoints["postgres"] = "postgresql://user:secret@a-long-name.of.a.host.example.org:5432/court"
    shown = io.StringIO()
    summary.show(Console(file=shown, width=40), folder, endpoints, {"postgres"})
    assert "postgresql://a-long-name.of.a.host.example.org:5432/court" in shown.getvalue()
    doctor = next(line for line in shown.getvalue().splitlines() if " doctor" in line)
    assert shlex.split(doctor) == ["contractcourt", "doctor", "--data-dir", str(folder)]


def test_what_dies_is_started_again(neighbours: list[RunningUp]) -> None:
    up = neighbours[0]
    parts = ("gateway", "worker", "redis", "postgres")
    before = {part: pid_of(up, part) for part in parts}
    for pid in before.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(pid_of(up, part) not in (None, before[part]) for part in parts))
    gateway = endpoints_of(up)["gateway"]
    wait_until(lambda: answers(f"{gateway}/readyz"))
    wait_until(lambda: cli(up.folder, "doctor").returncode == 0)


def test_a_killed_court_leaves_nothing_and_comes_back_as_it_was(
    neighbours: list[RunningUp],
) -> None:
    killed = neighbours.pop()
    folder, before = killed.folder, endpoints_of(killed)
    assert cli(folder, "node", "add", "bob", "--sweep-script", SWEEP_SCRIPT).returncode == 0
    killed.end(signal.SIGKILL)
    assert killed.left_over() == set()
    killed.log.unlink()

    again = RunningUp(folder, "--port", "0")
    neighbours.append(again)
    after = again.wait_ready()
    assert "bob" in cli(folder, "node", "list").stdout
    kept = ("operator_token", "signer_token", "seal_key_file")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert again.end() == 0
    assert again.left_over() == set()
    assert not (folder / "endpoints.json").exists()


def test_an_ordinary_user_may_start_one_and_end_it_with_ctrl_c(ordinary_user: Person) -> None:
    up = RunningUp(ordinary_user.home / "court", prefix=ordinary_user.prefix)
    try:
        up.wait_ready()
        assert {process.uids().real for process in up.processes()} == {ordinary_user.uid}
        assert up.end(signal.SIGINT) == 0
        assert up.left_over() == set()
    finally:
        up.kill()


@dataclass(frozen=True)
class Person:
    """A user, where he may write, and what is put before a command to run it as him."""

    uid: int
    home: Path
    prefix: tuple[str, ...]


@pytest.fixture
def ordinary_user() -> Iterator[Person]:
    """Whoever runs the tests; for root it is `nobody`, who may read the interpreter wherever
    root keeps it, and nothing more."""
    home = Path(tempfile.mkdtemp(prefix="contractcourt-user-"))
    try:
        if os.geteuid() != 0:
            yield Person(os.geteuid(), home, ())
            return
        os.chown(home, NOBODY, NOBODY)
        # Postgres' initdb looks at its own binary in a way that no capability helps with.
        allow_passage(Path(sys.prefix) / "bin", Account("nobody", NOBODY, NOBODY))
        yield Person(
            NOBODY,
            home,
            (
                *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
                *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
                "--bounding-set=-all,+dac_read_search",
            ),
        )
    finally:
        shutil.rmtree(home)


def pid_of(up: RunningUp, part: str) -> int | None:
    """The child of `up` that is this part; None while there is none."""
    binaries = {"redis": "redis-server", "postgres": "/postgres"}
    for process in psutil.Process(up.popen.pid).children():
        with suppress(psutil.NoSuchProcess):
            words = " ".join(process.cmdline()).split()
            if words and (words[0].endswith(binaries.get(part, "/ ")) or part in words):
                return int(process.pid)
    return None


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
