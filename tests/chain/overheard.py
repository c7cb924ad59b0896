"""A wire between a client and a node that writes down every call, and changes none."""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit


class Overheard:
    """Use it as a context manager; `url` leads through it to the node at `node_url`."""

    def __init__(self, node_url: str) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self._node = urlsplit(node_url)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def url(self) -> str:
        login = self._node.netloc.rpartition("@")[0]
        return f"http://{login}@127.0.0.1:{self._server.server_port}"

    def named(self, method: str) -> list[list[Any]]:
        """The parameters of every call of this method; a REST path is a method."""
        return [params for name, params in self.calls if name == method]

    def methods(self) -> set[str]:
        """What was called; REST paths without the hash."""
        return {"rest" if name.startswith("/rest/") else name for name, _ in self.calls}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        calls, node = self.calls, self._node

        class Wire(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                calls.append((self.path, []))
                self._pass_on(None)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked = json.loads(body)
                for call in asked if isinstance(asked, list) else [asked]:
                    calls.append((call["method"], call["params"]))
                self._pass_on(body)

            def _pass_on(self, body: bytes | None) -> None:
                connection = http.client.HTTPConnection("127.0.0.1", node.port or 0, timeout=30)
                headers = {"Authorization": self.headers.get("Authorization", "")}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Wire

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
