"""Passwords and tokens of one data folder: made once, kept for every later start."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from contractcourt.errors import ContractCourtError
from storage.seal import create_seal_key

_FILE = "secrets.json"
_SEAL_KEY_FILE = "seal.key"


class SecretsUnreadable(ContractCourtError):
    """The passwords of this data folder cannot be read, and new ones would lock us out."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """URL-safe text, 256 bits each."""

    postgres_password: str
    redis_password: str
    bitcoind_password: str
    operator_token: str
    signer_token: str
    webhook_key: str
    watcher_database_password: str
    gateway_database_password: str
    worker_database_password: str
    signer_database_password: str


_NAMES = tuple(Secrets.__dataclass_fields__)


def keep(data_dir: Path) -> Secrets:
    """The secrets of this folder; made at the first call, new kinds when they are first needed.

    Raises:
        SecretsUnreadable: the file is there, but is not what this function wrote.
    """
    path = data_dir / _FILE
    try:
        known = json.loads(path.read_bytes()) if path.exists() else {}
        kept = Secrets(**{name: secrets.token_urlsafe(32) for name in _NAMES} | known)
    except (OSError, ValueError, TypeError) as error:
        raise SecretsUnreadable(
            f"{path} cannot be read ({type(error).__name__}): restore it from a backup, or "
            "choose another --data-dir"
        ) from None
    if asdict(kept) != known:
        write_private(path, json.dumps(asdict(kept), indent=1).encode())
    return kept


def seal_key_file(data_dir: Path) -> Path:
    """The file of the key that seals the signer's secrets; made at the first call. Back it up."""
    path = data_dir / _SEAL_KEY_FILE
    create_seal_key(path)
    return path


def write_private(path: Path, content: bytes) -> None:
    """Write `path` whole or not at all, readable by its owner only, and flushed to disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
