"""The key that seals the nodes' webhook secrets: who checks webhooks, signs them or hands them out.

One that the environment gives, the same for every process of a fleet; else the one of this
machine's data folder, made when it is first needed (docs/decisions/0026).
"""

from __future__ import annotations

import hashlib
from functools import cache

from storage.seal import Seal, create_seal_key, load_seal_key
from tasks.errors import SettingsError
from tasks.settings import PREFIX, Settings

KEY_FILE = "webhook.key"


@cache
def webhook_seal(settings: Settings) -> Seal:
    """What opens the nodes' webhook secrets.

    Raises:
        SettingsError: no key is given, and none can be kept in the data folder.
        SealKeyFileError: the one that is there cannot be used.
    """
    if settings.webhook_key is not None:
        return seal_under(settings.webhook_key)
    path = settings.data_dir / KEY_FILE
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_seal_key(path)
    except OSError as error:
        raise SettingsError(
            f"{PREFIX}WEBHOOK_KEY is not set, and none can be kept at {path} ({error.strerror}): "
            "set it to a long random text, the same for gateway, workers and command line"
        ) from None
    return Seal(load_seal_key(path))


def seal_under(key: str) -> Seal:
    """The seal of a key that was given as text."""
    return Seal(hashlib.sha256(key.encode()).digest())
