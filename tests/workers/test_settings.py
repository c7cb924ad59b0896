"""Settings: what is told wrong is refused by name, and no value is ever shown."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from tasks import logs
from tasks.environment import load_settings
from tasks.errors import SettingsError

HIDDEN = "hunter2-hunter2-hunter2"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own environment, and an empty data folder."""
    import os

    for name in list(os.environ):
        if name.startswith(("CONTRACTCOURT_", "DATABASE_URL", "REDIS_URL", "BITCOIND_URL")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def announce(folder: Path, **endpoints: str) -> None:
    (folder / "endpoints.json").write_text(json.dumps(endpoints))


@pytest.mark.parametrize("name", ["CONTRACTCOURT_POLL_SECOND", "CONTRACTCOURT_DATABASE_URL"])
def test_an_unknown_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, HIDDEN)
    with pytest.raises(SettingsError, match=name) as refused:
        load_settings()
    assert HIDDEN not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONTRACTCOURT_POLL_SECONDS", HIDDEN),
        ("CONTRACTCOURT_POLL_SECONDS", "-1"),
        ("CONTRACTCOURT_GATEWAY_PORT", "70000"),
        ("CONTRACTCOURT_NETWORK", "mainnet"),
        ("CONTRACTCOURT_OPERATOR_TOKEN", "short"),
    ],
)
def test_a_senseless_value_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as refused:
        load_settings()
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", f"localhost:6379/{HIDDEN}"),
        ("REDIS_URL", f"http://:{HIDDEN}@localhost:6379/0"),
        ("REDIS_URL", f"redis://:p/{HIDDEN}@localhost:6379/0"),
        ("DATABASE_URL", f"postgres//court:{HIDDEN}@localhost/court"),
        ("DATABASE_URL", f"postgresql+psycopg://court:{HIDDEN}@localhost/court"),
        ("DATABASE_URL", f"postgresql://court:p/{HIDDEN}@localhost/court"),
        ("BITCOIND_URL", f"court:{HIDDEN}@localhost:8332"),
        ("BITCOIND_URL", f"http://court:p#{HIDDEN}@localhost:8332"),
        ("CONTRACTCOURT_SIGNER_URL", f"signer:8090/{HIDDEN}"),
    ],
)
def test_what_is_no_address_is_refused_at_the_start_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A client would say so once something is committed, and quote it."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: must be ") as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "rediss://user:p%2Fq@redis.example:6380/1"),
        ("DATABASE_URL", "host=/run/postgresql dbname=court"),
        ("DATABASE_URL", "postgresql://court:p%2Fq@one,two:5433/court?target_session_attrs=any"),
        ("DATABASE_URL", "postgresql://court@one:5432,two:5433/court"),
        ("BITCOIND_URL", "http://[::1]:8332"),
        ("CONTRACTCOURT_GATEWAY_URL", "https://court.example.org/"),
    ],
)
def test_every_form_that_a_client_reads_is_taken(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert value in load_settings().model_dump().values()


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!!", f"whsec_{'A' * 8}", HIDDEN])
def test_a_secret_that_signs_nothing_is_refused_at_the_start_and_not_at_each_letter(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("CONTRACTCOURT_OPERATOR_WEBHOOK_URL", "https://operator.example/")
    monkeypatch.setenv("CONTRACTCOURT_OPERATOR_WEBHOOK_SECRET", secret)
    with pytest.raises(SettingsError, match="OPERATOR_WEBHOOK_SECRET"):
        load_settings()
    good = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBub3RpZnk="
    monkeypatch.setenv("CONTRACTCOURT_OPERATOR_WEBHOOK_SECRET", good)
    assert load_settings().operator_webhook_secret == good


@pytest.mark.parametrize(("limit", "timeout", "fits"), [(30, 120, True), (31, 120, False)])
def test_tasks_end_long_before_the_broker_delivers_them_again(
    monkeypatch: pytest.MonkeyPatch, limit: int, timeout: int, fits: bool
) -> None:
    monkeypatch.setenv("CONTRACTCOURT_TASK_TIME_LIMIT_SECONDS", str(limit))
    monkeypatch.setenv("CONTRACTCOURT_VISIBILITY_TIMEOUT_SECONDS", str(timeout))
    if fits:
        assert load_settings().task_time_limit_seconds == limit
    else:
        with pytest.raises(SettingsError, match="lower CONTRACTCOURT_TASK_TIME_LIMIT_SECONDS"):
            load_settings()


def test_the_environment_comes_before_what_up_announced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    announce(tmp_path, postgres="postgresql://announced", redis="redis://announced", flower="x")
    monkeypatch.setenv("DATABASE_URL", "postgresql://told")
    settings = load_settings(data_dir=tmp_path)
    assert settings.database_url == "postgresql://told"
    assert settings.redis_url == "redis://announced"
    assert load_settings(data_dir=tmp_path, redis_url="redis://given").redis_url == "redis://given"


def test_up_itself_does_not_read_what_it_wrote(tmp_path: Path) -> None:
    announce(tmp_path, postgres="postgresql://announced")
    assert load_settings(from_endpoints=False, data_dir=tmp_path).database_url is None


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("CONTRACTCOURT_POLL_SECONDS", "")
    assert load_settings().redis_url is None
    assert load_settings().poll_seconds == 1.0


def test_what_is_missing_is_named_with_the_way_out() -> None:
    with pytest.raises(SettingsError, match="set DATABASE_URL, or start `contractcourt up`"):
        _ = load_settings().required_database_url


@pytest.mark.parametrize("content", ["not json", "[]"])
def test_a_wrecked_announcement_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "endpoints.json").write_text(content)
    with pytest.raises(SettingsError, match=r"endpoints\.json"):
        load_settings(data_dir=tmp_path)


def test_no_secret_stands_in_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://court:{HIDDEN}@host/db")
    monkeypatch.setenv("CONTRACTCOURT_OPERATOR_TOKEN", HIDDEN)
    assert HIDDEN not in repr(load_settings())


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What `logs` writes, with the root logger given back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("test", stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_is_json_and_carries_what_is_bound(lines: io.StringIO) -> None:
    with logs.bound(channel_point="aa:0", node="alice"):
        structlog.get_logger("court").info("advanced", state="DEFAULT")
        logging.getLogger("celery").warning("a %s", "library")
    ours, theirs = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (ours["event"], ours["state"], ours["process"]) == ("advanced", "DEFAULT", "test")
    assert theirs["event"] == "a library"
    assert {ours["channel_point"], theirs["channel_point"]} == {"aa:0"}


def test_a_line_is_named_after_the_module_that_wrote_it(lines: io.StringIO) -> None:
    structlog.get_logger().info("here")
    structlog.get_logger("court").info("there")
    named = [json.loads(line)["logger"] for line in lines.getvalue().splitlines()]
    assert named == [__name__, "court"]


def test_lines_for_people_have_colours_in_a_terminal_alone() -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        logs.configure("test", fmt="console", stream=stream)
        structlog.get_logger().warning("said", fact=1)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert "said" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_line_below_the_level_is_not_written(lines: io.StringIO) -> None:
    logs.configure("test", level="warning", stream=lines)
    structlog.get_logger("court").info("quiet")
    logging.getLogger("celery").info("quiet")
    structlog.get_logger("court").warning("loud")
    logging.getLogger("celery").warning("loud")
    assert [json.loads(line)["event"] for line in lines.getvalue().splitlines()] == ["loud"] * 2


def test_a_line_that_cannot_be_written_stops_nothing(lines: io.StringIO) -> None:
    went_on = False
    # Closing the file finds the disk full as well.
    with suppress(OSError), Path("/dev/full").open("w") as full:
        logs.configure("test", stream=full)
        structlog.get_logger("court").info("lost")
        went_on = True
    assert went_on
    logs.configure("test", stream=lines)
    structlog.get_logger("court").info("written again")
    assert "written again" in lines.getvalue()


def test_no_secret_reaches_a_line(lines: io.StringIO) -> None:
    log = structlog.get_logger("court")
    log.info("up", operator_token=HIDDEN, preimage=HIDDEN, url=f"redis://:{HIDDEN}@host/0")
    try:
        raise OSError(f"no route to postgresql://court:{HIDDEN}@host/db")
    except OSError:
        log.exception("down")
    assert HIDDEN not in lines.getvalue()
    assert len(lines.getvalue().splitlines()) == 2
