"""JSON-RPC as Bitcoin Core speaks it: one call or a batch, versions 1.1 and 2.0, named parameters.

A version 1 error answers with HTTP 500 (404 for an unknown method, 400 for what is no request); a
batch and a version 2.0 call always answer with 200.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from chain.devnet.errors import DevnetError, ErrorCode, RpcError
from chain.devnet.faults import Fault, Faults
from chain.devnet.node import Node
from contractcourt.errors import ContractCourtError

_HTTP_STATUS: dict[int, int] = {ErrorCode.METHOD_NOT_FOUND: 404, ErrorCode.INVALID_REQUEST: 400}


class ConnectionDropped(DevnetError):
    """A fault on order: this connection closes without an answer."""


class BareStatus(DevnetError):
    """A fault on order: an HTTP status without a body."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes


class Rpc:
    """The table of calls over one node."""

    def __init__(self, node: Node, faults: Faults, groups: Iterable[object]) -> None:
        self._node = node
        self._faults = faults
        self._calls: dict[str, Callable[..., Any]] = {"help": self.help}
        for group in groups:
            for name in dir(group):
                if not name.startswith("_") and name.islower() and name != "available":
                    self._calls[name] = getattr(group, name)

    def help(self, command: str | None = None) -> str:
        """The calls there are, or what one of them does."""
        if command is None:
            return "\n".join(sorted(self._calls))
        call = self._calls.get(command)
        if call is None:
            return f"help: unknown command: {command}\n"
        return f"{command}{inspect.signature(call)}\n{inspect.getdoc(call) or ''}"

    def answer(self, body: bytes) -> Answer:
        """Carry out the request in `body`. Raises ConnectionDropped or BareStatus on order."""
        try:
            request = msgspec.json.decode(body)
        except msgspec.DecodeError:
            error = {"code": ErrorCode.PARSE_ERROR, "message": "Parse error"}
            return Answer(500, _encode({"result": None, "error": error, "id": None}))
        if isinstance(request, list):
            return Answer(200, _encode([self._one(item)[1] for item in request]))
        status, reply = self._one(request)
        return Answer(status, _encode(reply))

    def _one(self, request: Any) -> tuple[int, dict[str, Any]]:
        modern = isinstance(request, dict) and request.get("jsonrpc") == "2.0"
        number = request.get("id") if isinstance(request, dict) else None
        try:
            result = self._carry_out(request)
        except RpcError as error:
            status = 200 if modern else _HTTP_STATUS.get(error.code, 500)
            said = {"code": error.code, "message": error.message}
            if modern:
                return status, {"jsonrpc": "2.0", "error": said, "id": number}
            return status, {"result": None, "error": said, "id": number}
        if modern:
            return 200, {"jsonrpc": "2.0", "result": result, "id": number}
        return 200, {"result": result, "error": None, "id": number}

    def _carry_out(self, request: Any) -> Any:
        if not isinstance(request, dict):
            raise RpcError(ErrorCode.INVALID_REQUEST, "Invalid Request object")
        method, params = request.get("method"), request.get("params") or []
        if not isinstance(method, str):
            raise RpcError(ErrorCode.INVALID_REQUEST, "Method must be a string")
        if not isinstance(params, list | dict):
            raise RpcError(ErrorCode.INVALID_REQUEST, "Params must be an array or object")
        fault = self._faults.meet(method)
        if fault is None:
            return self._call(method, params)
        return self._call_faulty(method, params, fault)

    def _call_faulty(self, method: str, params: Any, fault: Fault) -> Any:
        time.sleep(fault.delay_seconds)  # on order; holds no lock
        if fault.drop == "before":
            raise ConnectionDropped
        if fault.http_status is not None:
            raise BareStatus(fault.http_status)
        if fault.error is not None:
            raise RpcError(fault.error["code"], fault.error["message"])
        if fault.has_result:
            return fault.result
        result = self._call(method, params)
        if fault.drop == "after":
            raise ConnectionDropped
        return result

    def _call(self, method: str, params: list[Any] | dict[str, Any]) -> Any:
        call = self._calls.get(method)
        if call is None:
            raise RpcError(ErrorCode.METHOD_NOT_FOUND, "Method not found")
        signature = inspect.signature(call)
        try:
            if isinstance(params, dict):
                named = dict(params)
                bound = signature.bind(*named.pop("args", []), **named)
            else:
                bound = signature.bind(*params)
        except TypeError as error:
            raise RpcError(ErrorCode.MISC_ERROR, f"{method}: {error}") from error
        with self._node.lock:
            try:
                return call(*bound.args, **bound.kwargs)
            except RpcError:
                raise
            except ContractCourtError as error:
                raise RpcError(ErrorCode.MISC_ERROR, str(error)) from error
            except (KeyError, TypeError, ValueError) as error:
                raise RpcError(ErrorCode.TYPE_ERROR, f"{method}: {error!r}") from error


def _encode(reply: Any) -> bytes:
    return msgspec.json.encode(reply) + b"\n"
