"""The devnet over HTTP: authentication, batches, statuses, REST, faults on order, ZMQ."""

from __future__ import annotations

import base64
import fcntl
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from chain.devnet.errors import DevnetNotStarted
from chain.devnet.process import DevnetProcess
from tests.chain.devnet_money import refused


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    with DevnetProcess(tmp_path_factory.mktemp("devnet")) as process:
        process.rpc("devnet_mine", 3)
        yield process


def request(
    node: DevnetProcess, method: str, path: str, body: Any = None, login: str = "devnet:devnet"
) -> tuple[int, bytes]:
    """One HTTP request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=20)
    token = base64.b64encode(login.encode()).decode()
    connection.request(
        method,
        path,
        None if body is None else json.dumps(body),
        {"Authorization": f"Basic {token}"},
    )
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_only_the_right_password_is_let_in(node: DevnetProcess) -> None:
    call = {"method": "getblockcount", "id": 1}
    assert request(node, "POST", "/", call)[0] == 200
    assert request(node, "POST", "/", call, "devnet:wrong") == (401, b"")
    assert request(node, "GET", "/")[0] == 405


def test_errors_have_cores_http_statuses(node: DevnetProcess) -> None:
    status, body = request(node, "POST", "/", {"method": "getblockhash", "params": [99], "id": 7})
    error = {"code": -8, "message": "Block height out of range"}
    assert (status, json.loads(body)) == (500, {"result": None, "error": error, "id": 7})
    assert request(node, "POST", "/", {"method": "nonsense"})[0] == 404
    assert request(node, "POST", "/", "text")[0] == 400
    modern = {"jsonrpc": "2.0", "method": "nonsense", "id": 1}
    status, body = request(node, "POST", "/", modern)
    assert (status, json.loads(body)["error"]["code"]) == (200, -32601)
    assert "result" not in json.loads(body)


def test_a_batch_answers_each_call_in_order(node: DevnetProcess) -> None:
    calls = [
        {"method": "getblockhash", "params": [1], "id": "a"},
        {"method": "getblockhash", "params": [99], "id": "b"},
        {"method": "getblock", "params": {"blockhash": "00" * 32, "verbosity": 0}, "id": "c"},
    ]
    status, body = request(node, "POST", "/", calls)
    answers = json.loads(body)
    assert status == 200
    assert [answer["id"] for answer in answers] == ["a", "b", "c"]
    assert [answer["error"] and answer["error"]["code"] for answer in answers] == [None, -8, -5]


def test_parameters_may_be_named_and_wrong_ones_are_refused(node: DevnetProcess) -> None:
    assert node.rpc("getblockhash", height=1) == node.rpc("getblockhash", 1)
    with refused(-1, "getblockhash: "):
        node.rpc("getblockhash", 1, 2, 3)
    with refused(-3, "JSON value of height is not of expected type number"):
        node.rpc("getblockhash", "1")
    with refused(-8, "blockhash must be of length 64 (not 2, for 'ab')"):
        node.rpc("getblock", "ab")
    with refused(-5, "Block not found"):
        node.rpc("getblockheader", "00" * 32)
    with refused(-5, "Error: Invalid address"):
        node.rpc("generatetoaddress", 1, "bcrt1qnonsense")
    assert "getblockhash" in node.rpc("help").split()


def test_rest_serves_raw_blocks(node: DevnetProcess) -> None:
    best = node.rpc("getbestblockhash")
    status, raw = request(node, "GET", f"/rest/block/{best}.bin")
    assert (status, raw.hex()) == (200, node.rpc("getblock", best, 0))
    assert request(node, "GET", f"/rest/block/{'00' * 32}.bin")[0] == 404
    assert request(node, "GET", "/rest/block/nonsense.bin")[0] == 400
    status, info = request(node, "GET", "/rest/chaininfo.json")
    assert json.loads(info) == node.rpc("getblockchaininfo")


def test_faults_are_met_as_often_as_ordered(node: DevnetProcess) -> None:
    node.rpc("devnet_set_fault", "getblockcount", 2, {"code": -28, "message": "Loading"})
    for _ in range(2):
        with refused(-28, "Loading"):
            node.rpc("getblockcount")
    assert node.rpc("getblockcount") == 3
    node.rpc("devnet_set_fault", method="getblockcount", calls=1, result=None)
    assert node.rpc("getblockcount") is None
    node.rpc("devnet_set_fault", method="*", http_status=503)
    assert request(node, "POST", "/", {"method": "uptime"}) == (503, b"")
    node.rpc("devnet_set_fault", "getblockcount", 5, {"code": -28, "message": "Loading"})
    node.rpc("devnet_clear_faults")
    assert node.rpc("getblockcount") == 3


def test_an_answer_can_be_lost_before_or_after_the_deed(tmp_path: Path) -> None:
    with DevnetProcess(tmp_path) as node:
        descriptor = "raw(51)"
        for drop, height in (("before", 0), ("after", 1)):
            node.rpc("devnet_set_fault", method="generatetodescriptor", drop=drop)
            with pytest.raises((http.client.HTTPException, OSError)):
                node.rpc("generatetodescriptor", 1, descriptor)
            assert node.rpc("getblockcount") == height


def test_new_blocks_are_announced_over_zmq(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    context = zmq.Context()
    listener: Any = context.socket(zmq.SUB)
    listener.setsockopt(zmq.RCVTIMEO, 200)
    listener.connect(address)
    listener.subscribe(b"hashblock")
    with DevnetProcess(tmp_path, flags=("--zmqpubhashblock", address)) as node:
        assert node.rpc("getzmqnotifications")[0]["address"] == address
        heard = None
        for _ in range(50):  # a listener that connects late misses the first ones
            node.rpc("devnet_mine", 1)
            try:
                heard = listener.recv_multipart()
                break
            except zmq.Again:
                continue
        assert heard is not None
        assert node.rpc("getblockheader", heard[1].hex())["height"] > 0
    listener.close()
    context.term()


def test_without_a_password_a_cookie_is_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chain.devnet", "--datadir", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    scheme, address = process.stdout.readline().strip().split("//")
    assert address.startswith("127.0.0.1:")
    cookie = (tmp_path / "regtest" / ".cookie").read_text()
    url = f"{scheme}//{cookie}@{address}"
    assert json.loads((tmp_path / "devnet.json").read_text())["url"] == url
    assert (tmp_path / "devnet.json").stat().st_mode & 0o077 == 0
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()


def test_one_datadir_has_one_devnet_and_it_ends_with_its_parent(tmp_path: Path) -> None:
    node = DevnetProcess.start(tmp_path)
    with pytest.raises(DevnetNotStarted, match="another devnet runs in"):
        DevnetProcess.start(tmp_path)
    assert node.rpc("stop") == "Bitcoin Core stopping"
    node.stop()
    starter = (
        "import sys; from pathlib import Path; from chain.devnet.process import DevnetProcess; "
        f"DevnetProcess.start(Path({str(tmp_path)!r}), {node.port}); import os; os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", starter], check=True, timeout=60)
    with (tmp_path / "blocks.dat").open("rb") as blocks:
        fcntl.flock(blocks, fcntl.LOCK_EX)  # waits for the orphan to let go
