"""Core's calls about the node itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from chain.devnet.answers import Json
from chain.devnet.feerate import btc
from chain.devnet.policy import RELAY_FLOOR

VERSION = 320000


class ControlCalls:
    """Who the node is, and its end."""

    def __init__(self, stop: Callable[[], None], zmq_address: str | None) -> None:
        self._stop = stop
        self._zmq_address = zmq_address
        self._started = time.monotonic()

    def getnetworkinfo(self) -> Json:
        """Version and fees, as of Core 32; the devnet speaks to no network."""
        return {
            "version": VERSION,
            "subversion": "/Satoshi:32.0.0(contractcourt devnet)/",
            "protocolversion": 70016,
            "localservices": "0000000000000409",
            "localrelay": True,
            "timeoffset": 0,
            "networkactive": False,
            "connections": 0,
            "connections_in": 0,
            "connections_out": 0,
            "networks": [],
            "relayfee": btc(RELAY_FLOOR),
            "incrementalfee": btc(RELAY_FLOOR),
            "localaddresses": [],
            "warnings": [],
        }

    def getpeerinfo(self) -> list[Json]:
        """One make-believe peer that has every block, for getblockfrompeer."""
        return [{"id": 0, "addr": "devnet", "servicesnames": ["NETWORK", "WITNESS"]}]

    def getzmqnotifications(self) -> list[Json]:
        """Where blocks are announced."""
        if self._zmq_address is None:
            return []
        return [{"type": "pubhashblock", "address": self._zmq_address, "hwm": 1000}]

    def uptime(self) -> int:
        """Seconds since the start."""
        return int(time.monotonic() - self._started)

    def stop(self) -> str:
        """End the node after this answer."""
        self._stop()
        return "Bitcoin Core stopping"
