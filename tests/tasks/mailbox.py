"""A node's or an operator's web server: takes webhooks, checks them, answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook

#: What a server says to one webhook, given its headers and its body.
Rule = Callable[[dict[str, Any]], int]


def take(body: dict[str, Any]) -> int:
    del body
    return 204


class Mailbox:
    """Counts what it was sent; `messages` are those it took, as (webhook-id, body)."""

    def __init__(self, secret: str, rule: Rule = take) -> None:
        self.secret = secret
        self.rule = rule
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.asked = 0
        self.forged = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks"

    @property
    def ids(self) -> list[str]:
        return [message_id for message_id, _ in self.messages]

    @property
    def types(self) -> list[str]:
        return [body["type"] for _, body in self.messages]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, raw: bytes, headers: dict[str, str]) -> int:
        """The status for one webhook."""
        with self._lock:
            self.asked += 1
        try:
            Webhook(self.secret).verify(raw, headers)
        except Exception:
            with self._lock:
                self.forged += 1
            return 401
        body = json.loads(raw)
        status = self.rule(body)
        if status < 300:
            with self._lock:
                self.messages.append((headers["webhook-id"], body))
        return status


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _handler(mailbox: Mailbox) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = mailbox.answer(raw, headers)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", mailbox.url + "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The test says what matters."""

    return Handler
