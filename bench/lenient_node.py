"""A Bitcoin node that takes every transaction and has the blocks it is given.

The court's own work is measured, not the node's, which in life is another machine. It speaks as
much JSON-RPC and REST as the court asks for, on a thread of the bench's process. Its blocks may be
larger than a real one: the law of Bitcoin lets some 5,500 channels close in one block.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut, compact_size, sha256d
from contractcourt.units import BlockHash

_ABOVE_TIP = {"code": -8, "message": "Block height out of range"}
_UNKNOWN = {"code": -32601, "message": "Method not found"}
_FEES = {"mempoolminfee": 0.00001, "minrelaytxfee": 0.00001, "incrementalrelayfee": 0.00001}
_COINBASE = TxIn(OutPoint(bytes(32) + b"\xff" * 4))


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that the court handed over, and when (monotonic seconds)."""

    at: float
    raw_tx: bytes


class LenientNode:
    """The node; `url` is what BITCOIND_URL shall be. Use it in a `with`."""

    def __init__(self, height: int = 300) -> None:
        self.sent: list[Sent] = []
        self._hashes: list[BlockHash] = []
        self._blocks: dict[str, bytes] = {}
        self._ready = threading.Event()
        self._port = 0
        for _ in range(height + 1):
            self.mine()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """With a user and a password that nobody checks."""
        return f"http://bench:bench@127.0.0.1:{self._port}"

    @property
    def height(self) -> int:
        """Of the tip."""
        return len(self._hashes) - 1

    def mine(self, raw_transactions: Sequence[bytes] = ()) -> float:
        """A block with these on top; when it was there (monotonic seconds)."""
        height = len(self._hashes)
        coinbase = Transaction(2, (_COINBASE,), (TxOut(height, b"\x51"),), 0).serialize()
        body = b"".join([compact_size(1 + len(raw_transactions)), coinbase, *raw_transactions])
        previous = bytes(self._hashes[-1]) if self._hashes else bytes(32)
        root = hashlib.sha256(height.to_bytes(8, "little")).digest()
        seconds = int(time.time()).to_bytes(4, "little")
        header = b"\0\0\0\x20" + previous + root + seconds + bytes(8)
        block_hash = BlockHash(sha256d(header))
        self._blocks[str(block_hash)] = header + body
        self._hashes.append(block_hash)
        return time.monotonic()

    # -- what the court asks --

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        method = getattr(self, f"_rpc_{call['method']}", None)
        if method is None:
            return {"id": call["id"], "error": _UNKNOWN, "result": None}
        result = method(*call["params"])
        error = _ABOVE_TIP if result is _ABOVE_TIP else None
        return {"id": call["id"], "error": error, "result": None if error else result}

    def _rpc_getblockchaininfo(self) -> dict[str, Any]:
        return {
            "chain": "regtest",
            "blocks": self.height,
            "headers": self.height,
            "bestblockhash": str(self._hashes[-1]),
            "initialblockdownload": False,
            "pruned": False,
            "chainwork": f"{len(self._hashes):064x}",
        }

    def _rpc_getblockhash(self, height: int) -> Any:
        return str(self._hashes[height]) if height < len(self._hashes) else _ABOVE_TIP

    def _rpc_getmempoolinfo(self) -> dict[str, float]:
        return _FEES

    def _rpc_estimatesmartfee(self, target: int, *_: Any) -> dict[str, Any]:
        return {"feerate": 0.00002, "blocks": target}

    def _rpc_gettxout(self, *_: Any) -> dict[str, Any]:
        return {"value": 0.01, "scriptPubKey": {"hex": "51"}, "confirmations": 100}

    def _rpc_gettxspendingprevout(self, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return asked

    def _rpc_testmempoolaccept(self, raw: list[str], *_: Any) -> list[dict[str, Any]]:
        return [{"allowed": True} for _ in raw]

    def _rpc_sendrawtransaction(self, raw: str, *_: Any) -> str:
        self.sent.append(Sent(time.monotonic(), bytes.fromhex(raw)))
        return "00" * 32

    # -- the wire --

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                verb, path, _ = head[0].split(" ", 2)
                writer.write(self._respond(path, body, get=verb == "GET"))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _respond(self, path: str, body: bytes, *, get: bool) -> bytes:
        if get:
            block = self._blocks.get(path.rpartition("/")[2].removesuffix(".bin"), b"")
            return _response(200 if block else 404, "application/octet-stream", block)
        asked = json.loads(body)
        answer: Any = (
            [*map(self._answer, asked)] if isinstance(asked, list) else self._answer(asked)
        )
        return _response(200, "application/json", json.dumps(answer).encode())


def _response(status: int, kind: str, body: bytes) -> bytes:
    lines = (f"HTTP/1.1 {status} -", f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body
