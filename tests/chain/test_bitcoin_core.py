"""The client against a devnet, which answers Core's calls."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from chain.errors import BlockUnavailable, ChainUnavailable, WrongCredentials
from chain.hints import NoHints, ZmqHints, hints
from chain.readiness import Trouble, troubles
from contractcourt.bitcoin.block import spends_of
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import PublishOutcome
from contractcourt.units import BlockHash, BlockHeight
from tests.chain.devnet_money import ANYONE, fund, send, spend
from tests.chain.overheard import Overheard


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    with DevnetProcess(tmp_path_factory.mktemp("devnet")) as process:
        fund(process)
        yield process


@pytest.fixture
def chain(devnet: DevnetProcess) -> Iterator[BitcoinCore]:
    devnet.rpc("devnet_clear_mempool")
    with closing(BitcoinCore(devnet.url)) as chain:
        yield chain


class TestTheChain:
    def test_state_and_hashes(self, devnet: DevnetProcess, chain: BitcoinCore) -> None:
        state = chain.state()
        assert (state.network, state.syncing, state.prune_height) == ("regtest", False, None)
        assert state.height == devnet.rpc("getblockcount")
        above = BlockHeight(state.height + 1)
        assert chain.block_hashes([state.height, above]) == [state.best_hash, None]
        assert chain.block_hash(above) is None

    @pytest.mark.parametrize("rest", ["auto", "on", "off"])
    def test_raw_blocks(self, rest: Literal["auto", "on", "off"], devnet: DevnetProcess) -> None:
        tip = devnet.rpc("getbestblockhash")
        with closing(BitcoinCore(devnet.url, rest=rest)) as chain:
            raw = chain.raw_block(BlockHash.parse(tip))
        assert raw.hex() == devnet.rpc("getblock", tip, 0)
        assert spends_of(raw, set()) == []

    def test_a_node_without_rest_is_asked_for_it_once(self, tmp_path: Path) -> None:
        with DevnetProcess(tmp_path, flags=("--no-rest",)) as node, Overheard(node.url) as wire:
            node.rpc("devnet_mine", 3)
            with closing(BitcoinCore(wire.url)) as chain:
                for height in (1, 2, 3):
                    block_hash = chain.block_hash(BlockHeight(height))
                    assert block_hash is not None
                    chain.raw_block(block_hash)
        assert len([name for name, _ in wire.calls if name.startswith("/rest/")]) == 1
        assert [params[1] for params in wire.named("getblock")] == [0, 0, 0]

    def test_a_page_in_place_of_a_block_is_no_rest(self, devnet: DevnetProcess) -> None:
        """A proxy may answer whatever it is asked for."""
        tip = devnet.rpc("getbestblockhash")
        with Overheard(devnet.url) as wire, closing(BitcoinCore(wire.url)) as chain:
            devnet.rpc("devnet_set_fault", method="rest", calls=1, http_status=200)
            for _ in range(2):
                assert chain.raw_block(BlockHash.parse(tip)).hex() == devnet.rpc("getblock", tip, 0)
        assert len([name for name, _ in wire.calls if name.startswith("/rest/")]) == 1

    def test_b4_an_unknown_block_is_named(self, chain: BitcoinCore) -> None:
        with pytest.raises(BlockUnavailable, match="00" * 31 + "07"):
            chain.raw_block(BlockHash.parse("00" * 31 + "07"))

    def test_b5_a_pruned_block_comes_back_from_peers(
        self, devnet: DevnetProcess, chain: BitcoinCore
    ) -> None:
        lowest = chain.state().height
        height = BlockHeight(lowest - 2)
        block_hash = chain.block_hash(height)
        assert block_hash is not None
        devnet.rpc("devnet_prune", lowest)
        assert chain.state().prune_height == lowest
        [finding] = troubles(chain.state(), "regtest", BlockHeight(height - 1))
        assert finding.trouble is Trouble.PRUNED_BELOW_CURSOR
        with pytest.raises(BlockUnavailable):
            chain.raw_block(block_hash)
        assert chain.fetch_from_peers(height)
        assert chain.raw_block(block_hash)
        assert not chain.fetch_from_peers(height)  # it is here: nobody is asked
        devnet.rpc("devnet_prune", None)

    def test_filters_of_a_node_that_serves_none(self, chain: BitcoinCore) -> None:
        assert chain.block_filters([chain.state().best_hash] * 2) == [None, None]


class TestOutputsAndTransactions:
    def test_outputs_in_the_chain_and_in_the_mempool(
        self, devnet: DevnetProcess, chain: BitcoinCore
    ) -> None:
        outpoint = fund(devnet, 123_456)
        found = chain.tx_out(outpoint)
        assert found is not None
        assert (found.value_sat, found.script_pubkey, found.confirmations) == (123_456, ANYONE, 1)
        child = spend(outpoint, pays=120_000)
        send(devnet, child)
        made = OutPoint.of(child.txid(), 0)
        assert [bool(o) for o in chain.tx_outs([outpoint, made])] == [True, False]
        assert [bool(o) for o in chain.tx_outs([outpoint, made], mempool=True)] == [False, True]

    def test_b3_the_mempool_is_seen_while_an_index_of_spenders_is_built(
        self, devnet: DevnetProcess
    ) -> None:
        """Core 31 with `-txospenderindex` says so, for hours, to who asks for more than that."""
        outpoint = fund(devnet)
        child = spend(outpoint, pays=99_000)
        send(devnet, child)
        text = "Mempool lacks a relevant spend, and txospenderindex is unavailable."
        building = {"code": -1, "message": text}
        with Overheard(devnet.url) as wire, closing(BitcoinCore(wire.url)) as chain:
            devnet.rpc("devnet_set_fault", method="gettxspendingprevout", calls=1, error=building)
            found = chain.mempool_spends([outpoint, OutPoint.of(child.txid(), 0)])
            assert wire.named("gettxspendingprevout")[-1][1:] == [{"mempool_only": True}]
        assert {o: spender.txid for o, spender in found.items()} == {outpoint: child.txid()}

    def test_more_than_one_batch_holds(self, devnet: DevnetProcess) -> None:
        outpoint = fund(devnet)
        unknown = OutPoint.of(outpoint.txid, 77)
        with Overheard(devnet.url) as wire, closing(BitcoinCore(wire.url)) as chain:
            found = chain.tx_outs([outpoint, unknown] * 600)
        assert [bool(output) for output in found] == [True, False] * 600

    def test_refusals_are_values(self, devnet: DevnetProcess, chain: BitcoinCore) -> None:
        first, second = fund(devnet), fund(devnet)
        paying = spend(first, pays=99_000).serialize()
        offered = {
            PublishOutcome.ACCEPTED: paying,
            PublishOutcome.DOUBLE_SPEND: spend(first, pays=99_100).serialize(),
            PublishOutcome.FEE_TOO_LOW: spend(second, pays=100_000).serialize(),
            PublishOutcome.NON_FINAL: spend(second, pays=99_000, locktime=1_000_000).serialize(),
            PublishOutcome.INVALID: spend(
                second, pays=99_000, witness=(b"\x00", b"\x51\x51")
            ).serialize(),
            PublishOutcome.MISSING_INPUTS: spend(
                OutPoint.of(first.txid, 99), pays=1_000
            ).serialize(),
        }
        answers = chain.send_many(list(offered.values()))
        assert [answer.outcome for answer in answers] == list(offered)
        assert all(answer.reason for answer in answers[1:])

    def test_a_mined_transaction_is_already_known(
        self, devnet: DevnetProcess, chain: BitcoinCore
    ) -> None:
        raw = spend(fund(devnet), pays=99_000).serialize()
        assert chain.send(raw).outcome is PublishOutcome.ACCEPTED
        assert chain.send(raw).outcome in (PublishOutcome.ACCEPTED, PublishOutcome.ALREADY_KNOWN)
        devnet.rpc("devnet_mine", 1)
        assert chain.send(raw).outcome is PublishOutcome.ALREADY_KNOWN

    def test_garbage_is_invalid(self, chain: BitcoinCore) -> None:
        assert chain.send(b"\x00\x01").outcome is PublishOutcome.INVALID

    def test_b9_fees_below_one_satoshi_for_a_byte(
        self, devnet: DevnetProcess, chain: BitcoinCore
    ) -> None:
        assert chain.feerates([6]) == [None]
        assert chain.mempool_fees().floor == 25
        devnet.rpc("devnet_set_fee_estimate", 333)
        devnet.rpc("devnet_set_mempool_floor", 101)
        assert chain.feerates([6]) == [84]
        assert chain.mempool_fees().floor == 26
        devnet.rpc("devnet_set_fee_estimate", None)
        devnet.rpc("devnet_set_mempool_floor", None)


class TestTroubles:
    def test_nobody_there(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://user:secret-word@127.0.0.1:{taken.getsockname()[1]}"
            with closing(BitcoinCore(url)) as chain, pytest.raises(ChainUnavailable) as caught:
                chain.state()
        assert "secret-word" not in str(caught.value)

    @pytest.mark.parametrize("url", ["http://user:x@[::1", "http://host:port"])
    def test_what_is_no_url_is_typed(self, url: str) -> None:
        with pytest.raises(ChainUnavailable):
            BitcoinCore(url).state()

    def test_a_wrong_password(self, devnet: DevnetProcess) -> None:
        url = devnet.url.replace(":devnet@", ":wrong@")
        with closing(BitcoinCore(url)) as chain, pytest.raises(WrongCredentials):
            chain.state()

    def test_another_network_and_a_node_that_syncs(
        self, devnet: DevnetProcess, chain: BitcoinCore
    ) -> None:
        assert [one.trouble for one in troubles(chain.state(), "main")] == [Trouble.WRONG_NETWORK]
        devnet.rpc("devnet_set_syncing", True)
        assert [one.trouble for one in troubles(chain.state(), "regtest")] == [Trouble.SYNCING]
        devnet.rpc("devnet_set_syncing", False)
        assert troubles(chain.state(), "regtest") == []

    def test_a_dropped_connection_is_tried_again(
        self, devnet: DevnetProcess, chain: BitcoinCore
    ) -> None:
        devnet.rpc("devnet_set_fault", method="getblockchaininfo", calls=2, drop="before")
        assert chain.state().network == "regtest"
        devnet.rpc("devnet_set_fault", method="getblockchaininfo", calls=3, drop="before")
        with pytest.raises(ChainUnavailable):
            chain.state()

    def test_a_lost_answer_sends_no_transaction_twice_over(
        self, devnet: DevnetProcess, chain: BitcoinCore
    ) -> None:
        raw = spend(fund(devnet), pays=99_000).serialize()
        devnet.rpc("devnet_set_fault", method="sendrawtransaction", drop="after")
        answer = chain.send(raw)
        assert answer.outcome in (PublishOutcome.ACCEPTED, PublishOutcome.ALREADY_KNOWN)

    def test_a_cookie_that_changed_is_read_again(
        self, devnet: DevnetProcess, tmp_path: Path
    ) -> None:
        """A node writes a new one with every start."""
        cookie, url = tmp_path / ".cookie", f"http://127.0.0.1:{devnet.port}"
        with closing(BitcoinCore(url, cookie_file=cookie)) as chain:
            with pytest.raises(WrongCredentials, match="is it running"):
                chain.state()
            cookie.write_text("devnet:of-the-start-before")
            with pytest.raises(WrongCredentials):
                chain.state()
            cookie.write_text("devnet:devnet\n")
            assert chain.state().network == "regtest"


class TestHints:
    def test_without_an_address_only_time_passes(self) -> None:
        news = hints(None)
        assert isinstance(news, NoHints)
        news.wait(0.001, threading.Event())
        news.close()

    def test_b1_news_end_the_wait_and_gaps_are_counted(self, tmp_path: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        stop = threading.Event()
        with (
            DevnetProcess(tmp_path, flags=("--zmqpubhashblock", address)) as node,
            closing(ZmqHints(address)) as news,
        ):
            _hear_one(node, news, stop)
            heard_once = news.heard
            assert news.missed == 0
            node.rpc("devnet_mine", 3)
            while news.heard < heard_once + 3:
                news.wait(60.0, stop)  # ends by the news; the limit is never reached
            assert news.missed == 0

    def test_b1_silence_and_a_stop_end_the_wait_too(self) -> None:
        with closing(ZmqHints("tcp://127.0.0.1:9")) as deaf:
            deaf.wait(0.01, threading.Event())
            stopped = threading.Event()
            stopped.set()
            deaf.wait(3600.0, stopped)
            assert (deaf.heard, deaf.missed) == (0, 0)


def _hear_one(node: DevnetProcess, news: ZmqHints, stop: threading.Event) -> None:
    """Mine until one is heard: a listener that connects late misses the first ones."""
    while not news.heard:
        node.rpc("devnet_mine", 1)
        news.wait(0.2, stop)
