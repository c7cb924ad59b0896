"""What rests on Celery and Redis, and what must not (docs/users_ask.md section 2)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tasks.arbitration import CHUNK
from tasks.environment import load_settings
from tasks.errors import SettingsError
from tests.conftest import free_port
from workers.embedded.redis import find_binary

_ROOT = Path(__file__).parents[2]
_ROOMS = ("contractcourt", "storage", "chain", "tasks", "workers")
_TIMERS = {"eta", "countdown", "retry_backoff", "default_retry_delay"}


def test_c1_a_visibility_timeout_too_close_to_the_time_limit_is_refused() -> None:
    with pytest.raises(SettingsError, match="VISIBILITY_TIMEOUT_SECONDS"):
        load_settings(task_time_limit_seconds=40, visibility_timeout_seconds=120)


def test_c2_nothing_waits_in_the_broker() -> None:
    found = []
    for room in _ROOMS:
        for path in (_ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    found += [
                        f"{path}:{node.lineno} {keyword.arg}"
                        for keyword in node.keywords
                        if keyword.arg in _TIMERS
                    ]
                if isinstance(node, ast.Attribute) and node.attr == "retry":
                    found.append(f"{path}:{node.lineno} retry")
    assert found == []


_NO_SOCKET = """
import sys
def refuse(event, _):
    if event in ("socket.connect", "socket.bind"):
        raise SystemExit(f"opened a socket: {event}")
sys.addaudithook(refuse)
import tasks.app
for module in %r:
    __import__(module)
"""


def test_c11_importing_the_app_and_its_tasks_opens_no_socket() -> None:
    modules = [f"tasks.{path.stem}" for path in (_ROOT / "tasks").glob("[a-z]*.py")]
    modules.remove("tasks.celery_config")
    code = _NO_SOCKET % (modules,)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


_FORKED = """
import os, sys
from tasks.resources import resources
from tasks.errors import ForkedResources
resources()
pid = os.fork()
if pid == 0:
    try:
        resources()
    except ForkedResources:
        os._exit(0)
    os._exit(1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_c11_connections_of_a_parent_are_refused_after_the_fork() -> None:
    nowhere = {
        "DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "BITCOIND_URL": "http://u:p@127.0.0.1:1",
        "CONTRACTCOURT_SIGNER_URL": "http://127.0.0.1:1",
        "CONTRACTCOURT_SIGNER_TOKEN": "0123456789abcdef",
    }
    done = subprocess.run(
        [sys.executable, "-c", _FORKED],
        cwd=_ROOT,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_c17_one_message_holds_no_more_than_its_share(redis_url: str) -> None:
    count = 10 * CHUNK + 7
    code = f"from tasks import wakeups; wakeups.wake(list(range({count})))"
    with redis.Redis.from_url(redis_url) as broker:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=_ROOT,
            env={**os.environ, "REDIS_URL": redis_url},
            check=True,
        )
        assert broker.llen("arbitrate") == 11


def test_c10_without_a_broker_a_wake_up_fails_at_once_and_harms_nothing() -> None:
    code = "from tasks import wakeups\nwakeups.carry_out([(1, 'notify_node')])\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_ROOT,
        env={**os.environ, "REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "broker away" in done.stdout + done.stderr


_GONE_AND_BACK = """
import subprocess, sys
from tasks import wakeups

def a_moment_later():
    wakeups._broker._ask_again_at = 0.0

def start():
    return subprocess.Popen([sys.argv[1], "--port", sys.argv[2], "--bind", "127.0.0.1",
                             "--save", "", "--dir", sys.argv[3]], stdout=subprocess.DEVNULL)

def told():
    a_moment_later()
    return wakeups.wake([1])

server = start()
while not told():
    pass
server.kill()
server.wait()
away = wakeups.wake([1])
unasked = wakeups._broker.is_away()
server = start()
while not told():
    pass
print(away, unasked)
server.kill()
"""


def test_c10_a_broker_that_comes_back_is_told_by_the_same_process(tmp_path: Path) -> None:
    port = free_port()
    done = subprocess.run(
        [sys.executable, "-c", _GONE_AND_BACK, str(find_binary()), str(port), str(tmp_path)],
        cwd=_ROOT,
        env={**os.environ, "REDIS_URL": f"redis://127.0.0.1:{port}/0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "False True", done.stdout + done.stderr
