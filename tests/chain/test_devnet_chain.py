"""The devnet's chain: mining, refusals by consensus, reorgs, restarts and real recorded blocks."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from chain.devnet.errors import KernelNotStarted
from chain.devnet.filters import coded_set, siphash
from chain.devnet.node import Node, Options
from chain.devnet.process import DevnetProcess
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import BlockHash
from tests.chain.devnet_money import ANYONE, fund, refused, send, spend

_BLOCKS = sorted((Path(__file__).parents[1] / "data" / "ldk" / "blocks").glob("*.hex.gz"))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DevnetProcess]:
    with DevnetProcess(tmp_path / "devnet") as process:
        yield process


def tip(node: DevnetProcess) -> str:
    return str(node.rpc("getbestblockhash"))


def recorded(path: Path) -> list[str]:
    """Raw blocks in hex, from height 1 on."""
    return gzip.decompress(path.read_bytes()).decode().split()


def confirmations(node: DevnetProcess, outpoint: OutPoint) -> int | None:
    found = node.rpc("gettxout", str(outpoint.txid), outpoint.vout)
    return None if found is None else int(found["confirmations"])


def test_mined_blocks_stand_in_a_row(node: DevnetProcess) -> None:
    hashes = node.rpc("generatetodescriptor", 25, f"raw({ANYONE.hex()})")
    assert node.rpc("getblockcount") == 25
    assert hashes == [node.rpc("getblockhash", height) for height in range(1, 26)]
    headers = [node.rpc("getblockheader", item) for item in hashes]
    assert [header["previousblockhash"] for header in headers[1:]] == hashes[:-1]
    assert all(b["time"] > a["mediantime"] for a, b in pairwise(headers))
    info = node.rpc("getblockchaininfo")
    assert (info["chain"], info["blocks"], info["bestblockhash"]) == ("regtest", 25, hashes[-1])
    raw = node.rpc("getblock", hashes[3], 0)
    assert raw[:160] == node.rpc("getblockheader", hashes[3], False)


@pytest.mark.parametrize(
    "address",
    ["bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r"],
)
def test_blocks_pay_the_address_they_are_mined_to(node: DevnetProcess, address: str) -> None:
    [mined] = node.rpc("generatetoaddress", 1, address)
    coinbase = node.rpc("getblock", mined, 2)["tx"][0]
    assert coinbase["vout"][0]["scriptPubKey"]["address"] == address
    assert coinbase["vout"][0]["scriptPubKey"]["hex"].find("751e76e8199196d454941c45d1b3a323") > 0


def test_consensus_refuses_what_the_mempool_would_refuse(node: DevnetProcess) -> None:
    coin = fund(node)
    node.rpc("devnet_mine", 1)
    before = tip(node)
    bad_script = spend(coin, pays=99_000, witness=(b"\x00",)).serialize().hex()
    with refused(-25, "TestBlockValidity failed: block-script-verify-flag-failed (Witness program"):
        node.rpc("devnet_mine", 1, [bad_script], False)
    too_much = spend(coin, pays=100_001).serialize().hex()
    with refused(-25, "TestBlockValidity failed: bad-txns-in-belowout"):
        node.rpc("generateblock", f"raw({ANYONE.hex()})", [too_much])
    early = spend(coin, pays=99_000, sequence=50).serialize().hex()
    with refused(-25, "TestBlockValidity failed: bad-txns-nonfinal"):
        node.rpc("devnet_reorg", 1, 2, True, [early])
    assert tip(node) == before
    assert confirmations(node, coin) == 2


def test_generateblock_holds_what_it_is_given_and_no_more(node: DevnetProcess) -> None:
    first = spend(fund(node), pays=99_000)
    send(node, first)
    second = spend(OutPoint.of(first.txid(), 0), pays=98_000)
    send(node, second)
    mined = node.rpc("generateblock", f"raw({ANYONE.hex()})", [first.txid().hex()])["hash"]
    assert node.rpc("getblock", mined)["tx"][1:] == [first.txid().hex()]
    assert node.rpc("getrawmempool") == [second.txid().hex()]


def test_a_reorg_returns_transactions_to_the_mempool(node: DevnetProcess) -> None:
    node.rpc("devnet_mine", 110)
    coin = fund(node)
    tx = spend(coin, pays=99_000)
    send(node, tx)
    node.rpc("devnet_mine", 2)
    before = node.rpc("getblockcount")
    answer = node.rpc("devnet_reorg", 3)
    assert len(answer["disconnected"]) == 3
    assert len(answer["connected"]) == 4
    assert node.rpc("getblockcount") == before + 1
    assert node.rpc("getrawmempool") == [str(coin.txid), tx.txid().hex()]
    assert node.rpc("getblockheader", answer["disconnected"][0])["confirmations"] == -1
    node.rpc("devnet_mine", 1)
    assert confirmations(node, OutPoint.of(tx.txid(), 0)) == 1


def test_a_reorg_can_drop_transactions_or_put_others_in_their_place(node: DevnetProcess) -> None:
    coin = fund(node)
    tx, rival = spend(coin, pays=99_000), spend(coin, pays=60_000)
    send(node, tx)
    node.rpc("devnet_mine", 1)
    node.rpc("devnet_reorg", 1, 2, False)
    assert node.rpc("getrawmempool") == []
    assert confirmations(node, coin) == 3
    node.rpc("devnet_mine", 1, [tx.serialize().hex()], False)
    node.rpc("devnet_reorg", 1, 2, True, [rival.serialize().hex()])
    assert node.rpc("getrawmempool") == []
    assert confirmations(node, OutPoint.of(rival.txid(), 0)) == 2
    assert confirmations(node, OutPoint.of(tx.txid(), 0)) is None


def test_a_reorg_can_make_the_chain_shorter(node: DevnetProcess) -> None:
    node.rpc("devnet_mine", 10)
    node.rpc("devnet_reorg", 2, 3)
    old_tip = tip(node)
    answer = node.rpc("devnet_reorg", 4, 1)
    assert (answer["fork_height"], node.rpc("getblockcount")) == (7, 8)
    assert tip(node) == answer["connected"][0]
    node.rpc("devnet_mine", 9)
    assert node.rpc("getblockheader", old_tip)["confirmations"] == -1


def test_blocks_are_invalidated_and_reconsidered(node: DevnetProcess) -> None:
    hashes = node.rpc("devnet_mine", 10)
    node.rpc("invalidateblock", hashes[6])
    assert tip(node) == hashes[5]
    assert {"height": 10, "hash": hashes[9], "branchlen": 4, "status": "invalid"} in node.rpc(
        "getchaintips"
    )
    assert node.rpc("submitblock", node.rpc("getblock", hashes[7], 0)) == "duplicate-invalid"
    [other] = node.rpc("devnet_mine", 1)
    node.kill()
    node.launch()
    assert tip(node) == other
    node.rpc("reconsiderblock", hashes[6])
    assert tip(node) == hashes[9]


def test_a_longer_branch_from_outside_wins(node: DevnetProcess, tmp_path: Path) -> None:
    node.rpc("devnet_mine", 3)
    with DevnetProcess(tmp_path / "other") as other:
        hashes = other.rpc("devnet_mine", 4)
        [beyond] = other.rpc("devnet_mine", 1)
        tampered = other.rpc("getblock", beyond, 0)[:-2] + "ff"
        raw = [other.rpc("getblock", item, 0) for item in hashes]
    assert [node.rpc("submitblock", item) for item in raw] == [*["inconclusive"] * 3, None]
    assert tip(node) == hashes[-1]
    assert node.rpc("submitblock", raw[0]) == "duplicate"
    assert node.rpc("submitblock", tampered) == "bad-txnmrklroot"
    assert tip(node) == hashes[-1]
    with refused(-22, "Block decode failed"):
        node.rpc("submitblock", raw[0][:100])


def test_a_restart_keeps_chain_and_mempool_and_a_crash_the_chain(node: DevnetProcess) -> None:
    tx = spend(fund(node), pays=99_000)
    send(node, tx)
    before = tip(node)
    node.stop()
    node.launch()
    assert (tip(node), node.rpc("getrawmempool")) == (before, [tx.txid().hex()])
    node.kill()
    with (node.datadir / "blocks.dat").open("ab") as torn:
        torn.write(b"\xff\x00\x00\x00torn")
    node.launch()
    assert (tip(node), node.rpc("getrawmempool")) == (before, [])
    node.rpc("devnet_mine", 1)
    node.kill()
    node.launch()
    assert node.rpc("getblockheader", tip(node))["previousblockhash"] == before


@pytest.mark.parametrize("path", _BLOCKS, ids=lambda path: path.name.partition(".")[0])
def test_recorded_closings_are_valid_from_genesis_on(path: Path, tmp_path: Path) -> None:
    node = Node(tmp_path, Options())
    blocks = recorded(path)
    for raw in blocks:
        assert len(node.submit_block(bytes.fromhex(raw)).connected) == 1
    assert node.chain.tip.height == len(blocks)
    node.mine(2)
    tip = node.chain.tip
    node.close()
    again = Node(tmp_path, Options())
    assert again.chain.tip.hash == tip.hash
    again.close()


def test_a_recorded_chain_is_loaded_by_rpc_and_mined_on(node: DevnetProcess) -> None:
    blocks = recorded(_BLOCKS[0])
    assert [node.rpc("submitblock", raw) for raw in blocks] == [None] * len(blocks)
    assert confirmations(node, fund(node, 50_000)) == 1
    assert node.rpc("getblockcount") > len(blocks)


def test_pruned_blocks_can_be_fetched_again(node: DevnetProcess) -> None:
    hashes = node.rpc("devnet_mine", 5)
    node.rpc("devnet_prune", 4)
    assert node.rpc("getblockchaininfo")["pruneheight"] == 4
    with refused(-1, "Block not available (pruned data)"):
        node.rpc("getblock", hashes[1], 0)
    assert node.rpc("getblockheader", hashes[1])["height"] == 2
    assert node.rpc("getblockfrompeer", hashes[1], 0) == {}
    assert node.rpc("getblock", hashes[1], 0)


def test_filters_are_served_when_asked_for(node: DevnetProcess, tmp_path: Path) -> None:
    with refused(-1, "Index is not enabled for filtertype basic"):
        node.rpc("getblockfilter", node.rpc("getblockhash", 0))
    flags = ("--blockfilterindex",)
    with DevnetProcess(tmp_path / "filters", flags=flags) as filtering:
        fund(filtering)
        answer = filtering.rpc("getblockfilter", tip(filtering))
        assert len(answer["header"]) == 64
        assert bytes.fromhex(answer["filter"])[0] == 2  # the wallet's script, and ANYONE
        assert "basic block filter index" in filtering.rpc("getindexinfo")


def test_filters_agree_with_the_vectors_of_their_bip() -> None:
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5
    testnet_genesis = BlockHash.parse(
        "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943"
    )
    key = (
        "04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"
        "49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f"
    )
    script = bytes.fromhex(f"41{key}ac")
    assert coded_set(testnet_genesis, {script}).hex() == "019dfca8"


def test_a_folder_that_the_kernel_cannot_use_is_said_in_words(tmp_path: Path) -> None:
    """A full disk ended it with a traceback."""
    (tmp_path / "kernel").symlink_to("/dev/full")
    with pytest.raises(KernelNotStarted, match=f"{tmp_path}: .*; make room"):
        Node(tmp_path, Options())
