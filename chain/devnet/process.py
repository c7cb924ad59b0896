"""A devnet in a process of its own, for tests and supervisors."""

from __future__ import annotations

import base64
import http.client
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from chain.devnet.errors import DevnetNotStarted, RpcError

_USER = "devnet"
_PASSWORD = "devnet"


class DevnetProcess:
    """Starts `python -m chain.devnet`, which ends when this process does.

    Use it as a context manager, or `start` and `stop` it. After `stop` or `kill`, `launch` starts
    it again on the same port over the same chain.
    """

    def __init__(
        self,
        datadir: Path,
        *,
        port: int = 0,
        user: str = _USER,
        password: str = _PASSWORD,
        flags: tuple[str, ...] = (),
    ) -> None:
        self.datadir = datadir
        self.port = port
        self._login = (user, password)
        self._flags = flags
        self._popen: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    @classmethod
    def start(cls, datadir: Path, port: int = 0, **options: Any) -> Self:
        """A running devnet; options as for the constructor."""
        process = cls(datadir, port=port, **options)
        process.launch()
        return process

    @property
    def url(self) -> str:
        """Where its JSON-RPC is, with user and password."""
        return f"http://{self._login[0]}:{self._login[1]}@127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    def launch(self) -> None:
        """Start it and wait until it serves. Raises DevnetNotStarted with its last words."""
        self.datadir.mkdir(parents=True, exist_ok=True)
        user, password = self._login
        command = [sys.executable, "-m", "chain.devnet", "--datadir", str(self.datadir)]
        command += ["--port", str(self.port), "--rpcuser", user, "--rpcpassword", password]
        log_path = self.datadir / "devnet.log"
        with log_path.open("a") as log:
            self._popen = subprocess.Popen(
                [*command, "--until-stdin-closes", *self._flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline().strip()
        if not line:
            self._popen.wait()
            raise DevnetNotStarted(f"the devnet did not start: {log_path.read_text()[-2000:]}")
        self.port = urlsplit(line).port or self.port

    def rpc(self, method: str, /, *params: Any, **named: Any) -> Any:
        """One call. Raises RpcError with Core's number and text; OSError when nobody answers."""
        body = {"method": method, "params": named or list(params), "id": 1}
        reply = self.post(msgspec.json.encode(body))
        if reply["error"]:
            raise RpcError(reply["error"]["code"], reply["error"]["message"])
        return reply["result"]

    def post(self, body: bytes) -> Any:
        """One HTTP request, a call or a batch; the decoded answer."""
        token = base64.b64encode(":".join(self._login).encode()).decode()
        with self._lock:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                self._connection.request("POST", "/", body, {"Authorization": f"Basic {token}"})
                answer = self._connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                self._connection.close()
                self._connection = None
                raise
        return msgspec.json.decode(answer)

    def stop(self) -> None:
        """Ask it to end, and wait; the mempool is kept."""
        self._end(kill=False)

    def kill(self) -> None:
        """SIGKILL, as a crash would: the chain is kept, the mempool is not."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._popen is None:
            return
        self._popen.kill() if kill else self._popen.terminate()
        self._popen.wait(timeout=30)
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        self._popen = None

    def __enter__(self) -> Self:
        if self._popen is None:
            self.launch()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
