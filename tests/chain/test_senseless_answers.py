"""A node that answers nonsense: an error of the chain, whatever was asked and however it errs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from chain.errors import ChainError, SenselessAnswer
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.units import BlockHash, BlockHeight, Script, Txid
from tests.chain.recorded_node import RecordedNode

_OUTPOINT = OutPoint.of(Txid(bytes(32)), 0)
_TX = Transaction(2, (TxIn(_OUTPOINT),), (TxOut(1, b"\x51"),), 0).serialize()

NONSENSE: tuple[Any, ...] = (
    "nonsense",
    17,
    1.5,
    True,
    [],
    [{}],
    ["x", 3],
    {},
    {"chain": 5, "blocks": "many", "bestblockhash": 7},
    {"feerate": "much", "mempoolminfee": "x", "value": [], "tx-results": 3, "unspents": 1},
)
CALLS: tuple[Callable[[BitcoinCore], Any], ...] = (
    BitcoinCore.state,
    lambda chain: chain.block_hashes([BlockHeight(1), BlockHeight(2)]),
    lambda chain: chain.raw_block(BlockHash(bytes(32))),
    lambda chain: chain.block_filters([BlockHash(bytes(32))]),
    lambda chain: chain.fetch_from_peers(BlockHeight(1)),
    lambda chain: chain.tx_outs([_OUTPOINT, _OUTPOINT]),
    lambda chain: chain.mempool_spends([_OUTPOINT]),
    lambda chain: chain.scan([Script(b"\x51")]),
    lambda chain: chain.send_many([_TX]),
    lambda chain: chain.test_accept([_TX]),
    lambda chain: chain.submit_package([_TX]),
    lambda chain: chain.feerates([1, 6]),
    BitcoinCore.mempool_fees,
)


def test_whatever_a_node_answers_nobody_meets_another_error_than_the_chain_s(
    devnet: DevnetProcess,
) -> None:
    senseless = 0
    with closing(BitcoinCore(devnet.url, rest="off")) as chain:
        for nonsense in NONSENSE:
            devnet.rpc("devnet_set_fault", method="*", calls=10_000, result=nonsense)
            for call in CALLS:
                try:
                    call(chain)
                except SenselessAnswer:
                    senseless += 1
                except ChainError:
                    pass
    assert senseless > len(NONSENSE) * len(CALLS) / 2


def test_a_senseless_answer_says_what_was_asked(devnet: DevnetProcess) -> None:
    devnet.rpc("devnet_set_fault", method="*", calls=1, result=17)
    with (
        closing(BitcoinCore(devnet.url)) as chain,
        pytest.raises(SenselessAnswer, match="state: the Bitcoin node's answer makes no sense"),
    ):
        chain.state()


@pytest.mark.parametrize("nonsense", [None, {}, "taken"])
def test_what_names_no_transaction_does_not_say_that_one_was_taken(
    devnet: DevnetProcess, nonsense: object
) -> None:
    devnet.rpc("devnet_set_fault", method="sendrawtransaction", calls=1, result=nonsense)
    with closing(BitcoinCore(devnet.url)) as chain, pytest.raises(SenselessAnswer):
        chain.send(_TX)


_STATE = {"chain": "regtest", "blocks": 7, "bestblockhash": "00" * 32}
_OUTPUT = {"value": 1, "scriptPubKey": {"hex": ""}, "confirmations": 1}
_SCAN = {"height": 7, "bestblock": "00" * 32, "unspents": []}
_FEES = {"mempoolminfee": 0, "minrelaytxfee": 0, "incrementalrelayfee": 0}
_COIN = {"txid": "00" * 32, "vout": 0, "amount": 1, "scriptPubKey": "", "height": 7}
NO_HEIGHTS = (2**31, 500_000_000, -1, 7.5, "7", True, None)
NO_AMOUNTS = (-1, 21_000_001, -0.5)
_NO_OUTPUTS: tuple[dict[str, Any], ...] = (
    *({"confirmations": no} for no in NO_HEIGHTS),
    *({"value": no} for no in NO_AMOUNTS),
)
_NO_SCANS: tuple[dict[str, Any], ...] = (
    *({"height": no} for no in NO_HEIGHTS),
    *({"unspents": [{**_COIN, "height": no}]} for no in NO_HEIGHTS),
    *({"unspents": [{**_COIN, "amount": no}]} for no in NO_AMOUNTS),
)


@pytest.mark.parametrize(
    ("method", "answer", "call"),
    [
        *(
            ("getblockchaininfo", {**_STATE, **wrong}, BitcoinCore.state)
            for no in NO_HEIGHTS
            for wrong in ({"blocks": no}, {"pruned": True, "pruneheight": no or -1})
        ),
        *(
            ("gettxout", {**_OUTPUT, **wrong}, lambda chain: chain.tx_outs([_OUTPOINT]))
            for wrong in _NO_OUTPUTS
        ),
        *(
            ("scantxoutset", {**_SCAN, **wrong}, lambda chain: chain.scan([Script(b"\x51")]))
            for wrong in _NO_SCANS
        ),
        *(
            ("getmempoolinfo", {**_FEES, "incrementalrelayfee": no}, BitcoinCore.mempool_fees)
            for no in (-1, 10**30)
        ),
    ],
)
def test_a_number_that_is_none_of_its_kind_makes_no_sense(
    devnet: DevnetProcess, method: str, answer: object, call: Callable[[BitcoinCore], Any]
) -> None:
    """It was believed until Postgres had no room for it, and that ended the watcher."""
    devnet.rpc("devnet_set_fault", method=method, calls=1, result=answer)
    with closing(BitcoinCore(devnet.url)) as chain, pytest.raises(SenselessAnswer):
        call(chain)


def test_what_a_node_says_in_words_fits_where_it_is_kept() -> None:
    spoilt = "a\0b\ud800c\x1b[2J" + "x" * 10_000
    with RecordedNode() as node, closing(BitcoinCore(node.url)) as chain:
        node.say["sendrawtransaction"] = json.dumps({"code": -26, "message": spoilt})
        node.say["getblockchaininfo"] = json.dumps({**_STATE, "chain": spoilt})
        for words in (chain.send(_TX).reason, chain.state().network):
            assert words.startswith("a?b?c?[2Jxx")
            assert len(words) == 1_000
