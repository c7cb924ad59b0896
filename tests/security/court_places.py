"""Every place of a running court where a secret could turn up, as bytes to search."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
import psycopg
import redis
from psycopg import sql

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-f]{2}){24,}")
#: Which part of a court a process is, by a word of its command line.
_PARTS = ("signer", "gateway", "watcher", "beat", "flower", "devnet", "redis-server", "postgres")
_WORKERS = ("urgent-sweeps", "urgent", "archivist")


def unwrapped(raw: bytes, depth: int = 2) -> bytes:
    """The bytes, and after them what stands in them as base64, hex or compressed."""
    parts = [raw]
    for found in _BASE64.findall(raw):
        parts += _decoded(base64.urlsafe_b64decode, found.replace(b"+", b"-").replace(b"/", b"_"))
    for found in _HEX.findall(raw):
        inner = bytes.fromhex(found.decode())
        parts.append(inner)
        parts += _decoded(zlib.decompress, inner)
    inside = b"\n".join(parts[1:])
    return raw + b"\n" + unwrapped(inside, depth - 1) if depth and inside else b"\n".join(parts)


def _decoded(decode: Callable[[bytes], bytes], found: bytes) -> Iterator[bytes]:
    with suppress(ValueError, zlib.error):
        yield decode(found + b"=" * (-len(found) % 4))


def log_files(folder: Path) -> dict[str, bytes]:
    """What every part has said since the court began."""
    paths = [*(folder / "logs").iterdir(), folder / "up.log"]
    return {path.name: path.read_bytes() for path in paths}


def redis_contents(folder: Path, url: str) -> dict[str, bytes]:
    """Every write that Redis ever took, task messages first of all, and what it holds now."""
    with redis.Redis.from_url(url) as client:
        now = [key + b" " + (client.dump(key) or b"") for key in client.scan_iter()]
    written = b"\n".join(path.read_bytes() for path in (folder / "redis").glob("*.aof*"))
    return {"redis, written": written, "redis, now": b"\n".join(now)}


def flower_answers(url: str) -> dict[str, bytes]:
    """Its pages and its API, as far as it answers without a password."""
    paths = ("/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length")
    answers = {f"flower {path}": httpx2.get(f"{url}{path}", timeout=60).content for path in paths}
    form = {"draw": "1", "start": "0", "length": "1000", "search[value]": ""}
    form |= {"order[0][column]": "0", "order[0][dir]": "asc", "columns[0][data]": "name"}
    answers["flower tasks"] = httpx2.post(f"{url}/tasks/datatable", data=form, timeout=60).content
    return answers


def tables(url: str) -> dict[str, bytes]:
    """Every row of every table, as text."""
    contents = {}
    with psycopg.connect(url) as conn:
        names = conn.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
            "AND relnamespace = current_schema()::regnamespace"
        ).fetchall()
        for (name,) in names:
            query = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(name))
            rows = (row for (row,) in conn.execute(query).fetchall())
            contents[name] = "\n".join(rows).encode()
    return contents


def part_of(process: psutil.Process) -> str:
    """`gateway`, `worker`, ...; what Postgres or Celery fork is of their part."""
    words = " ".join(process.cmdline()).replace("/", " ").split()
    if "worker" in words:
        return next((name for name in _WORKERS if f"{name}@%h" in words), "worker")
    return next((part for part in _PARTS if part in words or f"{part}:" in words), "other")


def processes(up_pid: int) -> list[tuple[str, bytes, dict[str, str]]]:
    """Part, command line and environment of all that runs below `up`."""
    found = []
    for process in psutil.Process(up_pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            command = " ".join(process.cmdline()).encode()
            found.append((part_of(process), command, process.environ()))
    return found
