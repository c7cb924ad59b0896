"""A node that only repeats written-down answers: what its release says, and nothing live."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

ANSWERS = Path(__file__).parents[1] / "data" / "core_answers"
RELEASES = (29, 30, 31, 32)


def answers_of(release: int) -> dict[str, Any]:
    """The answers of a release, by call."""
    answers: dict[str, Any] = json.loads((ANSWERS / f"{release}.json").read_text())
    return answers


class RecordedNode:
    """Serves texts: `say[method]` is the JSON of a result, or of an error object with a code.

    Results keep their own text, since numbers must reach the client as Core writes them. With
    `status` every answer is that HTTP status and `body`.
    """

    def __init__(self) -> None:
        self.say: dict[str, str] = {}
        self.status: int | None = None
        self.body = b""
        self.asked = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://user:password@127.0.0.1:{self._server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        recorded = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                recorded.asked += 1
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = recorded.status or 200, recorded.body
                if recorded.status is None:
                    body = recorded.reply(asked).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Door

    def reply(self, asked: Any) -> str:
        """The JSON of an answer, or of a batch of them."""
        if isinstance(asked, list):
            return f"[{','.join(self.reply(call) for call in asked)}]"
        said = self.say[asked["method"]]
        is_error = isinstance(told := json.loads(said), dict) and "code" in told
        result, error = ("null", said) if is_error else (said, "null")
        return f'{{"result":{result},"error":{error},"id":{asked["id"]}}}'

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
