"""HTTP as bitcoind serves it: JSON-RPC with basic authentication, and two pages of REST."""

from __future__ import annotations

import base64
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import msgspec

from chain.devnet.calls_chain import ChainCalls
from chain.devnet.errors import PortTaken, RpcError
from chain.devnet.faults import Faults
from chain.devnet.node import Node
from chain.devnet.rpc import BareStatus, ConnectionDropped, Rpc
from contractcourt.units import BlockHash

_BIG_REQUEST = 64 * 1024 * 1024


class DevnetServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1; a thread a connection, one lock in the node. Raises PortTaken."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, port: int, node: Node, rpc: Rpc, chain: ChainCalls, faults: Faults, login: str
    ) -> None:
        self.node = node
        self.rpc = rpc
        self.chain = chain
        self.faults = faults
        self.authorization = b"Basic " + base64.b64encode(login.encode())
        self._quiet = threading.Condition()
        self._under_way = 0
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            words = f"can't listen on 127.0.0.1, port {port}: {error.strerror}"
            raise PortTaken(words) from error

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A request is under way until its answer is written."""
        with self._quiet:
            self._under_way += 1
        try:
            yield
        finally:
            with self._quiet:
                self._under_way -= 1
                self._quiet.notify_all()

    def wait_until_quiet(self, seconds: float) -> None:
        """Let the answers that are being written go out."""
        with self._quiet:
            self._quiet.wait_for(lambda: self._under_way == 0, seconds)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: DevnetServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server_version = "contractcourt-devnet"
    sys_version = ""
    timeout = 600
    _REST_KINDS: ClassVar[dict[str, str]] = {
        "bin": "application/octet-stream",
        "hex": "text/plain",
    }

    def do_POST(self) -> None:
        with self.server.answering():
            self._post()
            self.wfile.flush()

    def _post(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _BIG_REQUEST:
            self.close_connection = True
            return self._reply(413, b"", "text/plain")
        body = self.rfile.read(length)
        given = (self.headers.get("Authorization") or "").encode()
        if not hmac.compare_digest(given, self.server.authorization):
            return self._reply(401, b"", "text/plain")
        try:
            answer = self.server.rpc.answer(body)
        except ConnectionDropped:
            self.close_connection = True
            return None
        except BareStatus as order:
            return self._reply(order.status, b"", "text/plain")
        return self._reply(answer.status, answer.body, "application/json")

    def do_GET(self) -> None:
        if not self.path.startswith("/rest/"):
            text = b"JSONRPC server handles only POST requests"
            return self._reply(405, text, "text/plain")
        if not self.server.node.options.rest:
            return self._reply(404, b"", "text/plain")
        fault = self.server.faults.meet("rest")
        if fault is not None:
            self.close_connection = fault.http_status is None
            return self._reply(fault.http_status, b"", "text/plain") if fault.http_status else None
        with self.server.node.lock:
            status, body, kind = self._rest(self.path.removeprefix("/rest/").partition("?")[0])
        return self._reply(status, body, kind)

    def _rest(self, path: str) -> tuple[int, bytes, str]:
        name, _, form = path.rpartition(".")
        if path == "chaininfo.json":
            info = msgspec.json.encode(self.server.chain.getblockchaininfo())
            return 200, info + b"\n", "application/json"
        if not name.startswith("block/"):
            return 404, b"", "text/plain"
        if form not in self._REST_KINDS:
            text = b"output format not found (available: .bin, .hex, .json)\r\n"
            return 404, text, "text/plain"
        return self._rest_block(name.removeprefix("block/"), form)

    def _rest_block(self, text: str, form: str) -> tuple[int, bytes, str]:
        try:
            wanted = BlockHash.parse(text)
        except ValueError:
            return 400, f"Invalid hash: {text}\r\n".encode(), "text/plain"
        block = self.server.node.chain.tree.get(wanted)
        if block is None:
            return 404, f"{text} not found\r\n".encode(), "text/plain"
        try:
            raw = self.server.chain.available(block).raw
        except RpcError:
            return 404, f"{text} not available (pruned data)\r\n".encode(), "text/plain"
        return 200, raw if form == "bin" else raw.hex().encode() + b"\n", self._REST_KINDS[form]

    def _reply(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="jsonrpc"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: a test makes thousands of calls."""
