"""The seal on every secret at rest: AES-256-GCM under a key that is not in the database.

There are two keys: the signer's, which opens the vault and is on the signer's host alone, and the
one for the nodes' webhook secrets, which whoever checks or signs webhooks has.

A sealed record is a version byte, a fresh 96-bit nonce and the ciphertext with its tag. The
record's name is the associated data, so that a record moved to another name does not open.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import SealKeyFileError, WrongSealKey

_VERSION = b"\x01"
_NONCE_LENGTH = 12
_KEY_LENGTH = 32


class Seal:
    """Seals and opens records. Holds the seal key; shows it nowhere."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_LENGTH:
            raise SealKeyFileError("a seal key is 32 bytes")
        self._cipher = AESGCM(key)

    def close(self, name: str, plain: bytes) -> bytes:
        """Seal `plain` under the record's `name`."""
        nonce = os.urandom(_NONCE_LENGTH)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """What was sealed under `name`.

        Raises:
            WrongSealKey: another key, another name, or an altered record.
        """
        if sealed[:1] != _VERSION:
            raise WrongSealKey(f"the sealed record {name} is of an unknown version")
        nonce, ciphertext = sealed[1 : 1 + _NONCE_LENGTH], sealed[1 + _NONCE_LENGTH :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, name.encode())
        except (InvalidTag, ValueError):
            raise WrongSealKey(
                f"the sealed record {name} does not open: this is not the seal key it was sealed "
                "with, or the record was altered"
            ) from None


def load_seal_key(path: Path) -> bytes:
    """The seal key from its file: 64 hex digits.

    Raises:
        SealKeyFileError: no such file, readable by others, or not a key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SealKeyFileError(
            f"{path} cannot be read ({type(error).__name__}): a seal key file belongs there; "
            "CONTRACTCOURT_SEAL_KEY_FILE says where the signer's is"
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise SealKeyFileError(f"{path} can be read by others: chmod 600 it")
    if len(text) != 2 * _KEY_LENGTH or not all(c in "0123456789abcdef" for c in text.lower()):
        raise SealKeyFileError(f"{path} does not hold a seal key: 64 hex digits")
    return bytes.fromhex(text)


def create_seal_key(path: Path) -> None:
    """Write a fresh seal key, readable by its owner alone; an existing file is kept as it is."""
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(os.urandom(_KEY_LENGTH).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Whole when it appears, and never in place of another one.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
