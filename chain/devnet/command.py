"""The process: its flags, its start, and its clean end."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from chain.devnet.calls_chain import ChainCalls
from chain.devnet.calls_control import ControlCalls
from chain.devnet.calls_devnet import DevnetCalls
from chain.devnet.calls_mining import MiningCalls
from chain.devnet.calls_transactions import TransactionCalls
from chain.devnet.faults import Faults
from chain.devnet.node import Node, Options
from chain.devnet.rpc import Rpc
from chain.devnet.server import DevnetServer
from chain.devnet.zmq_announcer import ZmqAnnouncer

_COOKIE_USER = "__cookie__"
_LAST_ANSWERS_SECONDS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, SIGINT or the `stop` call; prints its address when it serves.

    The URL with user and password stands in `DATADIR/devnet.json` alone: what is printed ends in
    logs. Without --rpcpassword a cookie is made, as bitcoind does, in `DATADIR/regtest/.cookie`.
    """
    arguments = _parser().parse_args(argv)
    datadir: Path = arguments.datadir
    options = Options(
        txindex=arguments.txindex,
        blockfilterindex=arguments.blockfilterindex,
        txospenderindex=arguments.txospenderindex,
        rest=arguments.rest,
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if arguments.until_stdin_closes:
        threading.Thread(target=_await_end_of_stdin, args=(ended,), daemon=True).start()
    with ExitStack() as stack:
        node = Node(datadir, options)
        stack.callback(node.close)
        if arguments.zmqpubhashblock:
            announcer = stack.enter_context(ZmqAnnouncer(arguments.zmqpubhashblock))
            node.on_block.append(announcer.announce)
        user, password = _login(arguments, datadir)
        server = _server(arguments, node, f"{user}:{password}", ended)
        address = f"127.0.0.1:{server.port}"
        url = f"http://{user}:{password}@{address}"
        _write_private(datadir / "devnet.json", json.dumps({"url": url, "pid": os.getpid()}))
        # The thread only sleeps in the selector; it dies with the process.
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 3600}, daemon=True
        ).start()
        print(f"http://{address}", flush=True)
        ended.wait()
        server.wait_until_quiet(_LAST_ANSWERS_SECONDS)
        node.lock.acquire()  # no call is carried out from here on
    return 0


def _server(
    arguments: argparse.Namespace, node: Node, login: str, ended: threading.Event
) -> DevnetServer:
    faults = Faults()
    chain = ChainCalls(node)
    groups = (
        chain,
        TransactionCalls(node),
        MiningCalls(node),
        DevnetCalls(node, faults),
        ControlCalls(ended.set, arguments.zmqpubhashblock),
    )
    return DevnetServer(arguments.port, node, Rpc(node, faults, groups), chain, faults, login)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devnet", description="A regtest Bitcoin node for tests.")
    parser.add_argument("--datadir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=18443, help="0 picks a free one")
    parser.add_argument("--rpcuser", default="devnet")
    parser.add_argument("--rpcpassword", help="without it a cookie is written")
    parser.add_argument("--rest", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--txindex", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--blockfilterindex", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--txospenderindex", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--zmqpubhashblock", metavar="ADDRESS", help="e.g. tcp://127.0.0.1:28332")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end when the parent closes its end of our stdin, or dies",
    )
    return parser


def _login(arguments: argparse.Namespace, datadir: Path) -> tuple[str, str]:
    if arguments.rpcpassword:
        return arguments.rpcuser, arguments.rpcpassword
    password = secrets.token_hex(32)
    folder = datadir / "regtest"
    folder.mkdir(exist_ok=True)
    _write_private(folder / ".cookie", f"{_COOKIE_USER}:{password}")
    return _COOKIE_USER, password


def _write_private(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    os.replace(draft, path)


def _await_end_of_stdin(ended: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    ended.set()
