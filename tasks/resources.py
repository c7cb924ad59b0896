"""What one worker process holds open: Postgres, the Bitcoin node, the signer, the broker.

Opened at first use, so always after the fork; using them in another process raises.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from chain.bitcoin_core import BitcoinCore
from storage.database import Database
from tasks.environment import load_settings
from tasks.errors import ForkedResources
from tasks.settings import Settings
from tasks.signer_client import SignerClient
from tasks.way import Way


@dataclass(frozen=True, slots=True)
class Resources:
    """The connections of the process `pid`."""

    pid: int
    settings: Settings
    db: Database
    chain: BitcoinCore
    signer: SignerClient
    way: Way


_opened: Resources | None = None


def resources() -> Resources:
    """This process's connections. Raises ForkedResources when its parent opened them."""
    global _opened
    if _opened is None:
        _opened = _open(load_settings())
    if _opened.pid != os.getpid():
        raise ForkedResources
    return _opened


def _open(settings: Settings) -> Resources:
    return Resources(
        pid=os.getpid(),
        settings=settings,
        db=Database(settings.required_database_url, application_name="contractcourt-worker"),
        chain=BitcoinCore(
            settings.required_bitcoind_url,
            cookie_file=settings.bitcoind_cookie_file,
            rest=settings.bitcoind_rest,
        ),
        signer=SignerClient(settings.required_signer_url, settings.required_signer_token),
        way=Way(settings.required_redis_url),
    )


def close() -> None:
    """Let go of them, if this process opened any."""
    global _opened
    if _opened is not None and _opened.pid == os.getpid():
        _opened.db.close()
        _opened.signer.close()
        _opened.way.close()
        _opened.chain.close()
    _opened = None
