"""What the devnet's mempool takes and refuses, in Bitcoin Core's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chain.devnet.process import DevnetProcess
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.units import Txid
from tests.chain.devnet_money import ANYONE, fund, refused, send, spend


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """One node for the tests that leave the chain's shape alone."""
    with DevnetProcess(tmp_path_factory.mktemp("devnet")) as process:
        yield process


@pytest.fixture
def node(shared: DevnetProcess) -> DevnetProcess:
    """The shared node with an empty mempool and no floor."""
    shared.rpc("devnet_clear_mempool")
    shared.rpc("devnet_set_mempool_floor", None)
    return shared


def first_output(tx: Transaction) -> OutPoint:
    return OutPoint.of(tx.txid(), 0)


def test_a_transaction_waits_and_is_mined(node: DevnetProcess) -> None:
    tx = spend(fund(node), pays=99_000)
    txid = send(node, tx)
    assert node.rpc("getrawmempool") == [txid]
    assert node.rpc("getmempoolentry", txid)["fees"]["base"] == pytest.approx(0.00001)
    assert node.rpc("gettxout", txid, 0)["confirmations"] == 0
    assert node.rpc("gettxout", txid, 0, False) is None
    node.rpc("devnet_mine", 1)
    assert node.rpc("getrawmempool") == []
    assert node.rpc("gettxout", txid, 0)["confirmations"] == 1
    assert node.rpc("getrawtransaction", txid) == tx.serialize().hex()


def test_sending_twice_is_quiet_and_testing_twice_is_not(node: DevnetProcess) -> None:
    tx = spend(fund(node), pays=99_000)
    assert send(node, tx) == send(node, tx)
    [answer] = node.rpc("testmempoolaccept", [tx.serialize().hex()])
    assert (answer["allowed"], answer["reject-reason"]) == (False, "txn-already-in-mempool")
    node.rpc("devnet_mine", 1)
    with refused(-27, "Transaction outputs already in utxo set"):
        send(node, tx)
    [answer] = node.rpc("testmempoolaccept", [tx.serialize().hex()])
    assert answer["reject-reason"] == "txn-already-known"
    send(node, spend(first_output(tx), pays=98_000))
    node.rpc("devnet_mine", 1)
    with refused(-25, "bad-txns-inputs-missingorspent"):
        send(node, tx)


def test_refusals_have_cores_number_and_words(node: DevnetProcess) -> None:
    coin = fund(node)
    height = node.rpc("getblockcount")
    nowhere = OutPoint.of(Txid(b"\x07" * 32), 0)
    with refused(-22, "TX decode failed. Make sure the tx has at least one input."):
        node.rpc("sendrawtransaction", "00")
    with refused(-25, "bad-txns-inputs-missingorspent"):
        send(node, spend(nowhere, pays=1000))
    with refused(-26, "non-final"):
        send(node, spend(coin, pays=99_000, locktime=height + 1))
    with refused(-26, "non-BIP68-final"):
        send(node, spend(coin, pays=99_000, sequence=2))
    with refused(-26, "bad-txns-in-belowout, value in (0.001) < value out (0.001001)"):
        send(node, spend(coin, pays=100_100))
    with refused(-26, "min relay fee not met, 0 < 10"):
        send(node, spend(coin, pays=100_000))
    with refused(-26, "dust, tx with dust output must be 0-fee"):
        send(node, spend(coin, pays=329))
    with refused(-26, "scriptpubkey"):
        send(node, spend(coin, pays=99_000, script=b"\x51\x51"))
    with refused(-26, "bad-txns-inputs-duplicate"):
        send(node, spend(coin, coin, pays=99_000))
    with refused(-25, "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"):
        send(node, spend(fund(node, 2_000_000), pays=1_000))
    assert node.rpc("getrawmempool") == []


def test_a_failing_script_is_named(node: DevnetProcess) -> None:
    coin = fund(node)
    bad = spend(coin, pays=99_000, witness=(b"\x00",))
    reason = "mempool-script-verify-flag-failed (Witness program hash mismatch), input 0 of "
    with refused(-26, reason + bad.txid().hex()):
        send(node, bad)
    good = spend(coin, pays=99_000)
    send(node, good)
    child = spend(first_output(good), pays=98_000, witness=())
    with refused(-26, "mempool-script-verify-flag-failed (Witness program was passed an empty"):
        send(node, child)


def test_a_young_coinbase_cannot_be_spent(node: DevnetProcess) -> None:
    [block] = node.rpc("generatetodescriptor", 1, f"raw({ANYONE.hex()})")
    coinbase = node.rpc("getblock", block)["tx"][0]
    tx = spend(OutPoint.of(Txid.parse(coinbase), 0), pays=1_000)
    with refused(-26, "bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 1"):
        send(node, tx)
    raw = node.rpc("getrawtransaction", coinbase)
    with refused(-26, "coinbase"):
        send(node, replace(Transaction.parse(bytes.fromhex(raw)), version=1))


def test_relative_locks_by_height_pass_in_time(node: DevnetProcess) -> None:
    coin = fund(node)
    tx = spend(coin, pays=99_000, sequence=3)
    for _ in range(2):
        with refused(-26, "non-BIP68-final"):
            send(node, tx)
        node.rpc("devnet_mine", 1)
    send(node, tx)
    with refused(-26, "non-BIP68-final"):
        send(node, spend(first_output(tx), pays=98_000, sequence=1))
    node.rpc("devnet_mine", 1)
    assert node.rpc("getrawmempool") == []


def test_a_replacement_must_pay_more_in_every_way(node: DevnetProcess) -> None:
    coin = fund(node)
    first = spend(coin, pays=99_000)
    send(node, first)
    child = spend(first_output(first), pays=90_000)
    send(node, child)
    for pays, said in (
        (99_001, "; new feerate 0.00010406 BTC/kvB <= old feerate 0.00010416 BTC/kvB"),
        (95_000, ", less fees than conflicting txs; 0.00005 < 0.0001"),
        (89_999, ", not enough additional fees to relay; 0.00000001 < 0.0000001"),
    ):
        tx = spend(coin, pays=pays)
        with refused(-26, f"insufficient fee, rejecting replacement {tx.txid()}{said}"):
            send(node, tx)
    best = spend(coin, pays=89_000)
    [answer] = node.rpc("testmempoolaccept", [best.serialize().hex()])
    assert answer["allowed"]
    send(node, best)
    assert node.rpc("getrawmempool") == [best.txid().hex()]
    spender = node.rpc("gettxspendingprevout", [{"txid": str(coin.txid), "vout": coin.vout}])
    assert spender[0]["spendingtxid"] == best.txid().hex()


def test_a_block_takes_its_rivals_with_it(node: DevnetProcess) -> None:
    coin = fund(node)
    waiting = spend(coin, pays=99_000)
    send(node, waiting)
    send(node, spend(first_output(waiting), pays=98_000))
    rival = spend(coin, pays=50_000)
    node.rpc("devnet_mine", 1, [rival.serialize().hex()], False)
    assert node.rpc("getrawmempool") == []
    assert node.rpc("gettxout", rival.txid().hex(), 0)["confirmations"] == 1


def test_a_raised_floor_refuses_until_it_falls(node: DevnetProcess) -> None:
    coin = fund(node)
    node.rpc("devnet_set_mempool_floor", 50_000)
    tx = spend(coin, pays=99_000)
    with refused(-26, "mempool min fee not met, 1000 < "):
        send(node, tx)
    assert node.rpc("getmempoolinfo")["mempoolminfee"] == pytest.approx(0.0005)
    node.rpc("devnet_set_mempool_floor", None)
    send(node, tx)


def test_a_package_carries_a_parent_that_pays_nothing(node: DevnetProcess) -> None:
    parent = spend(fund(node), pays=100_000)
    child = spend(first_output(parent), pays=98_000)
    with refused(-26, "min relay fee not met"):
        send(node, parent)
    answer = node.rpc("submitpackage", [parent.serialize().hex(), child.serialize().hex()])
    assert answer["package_msg"] == "success"
    assert len(answer["tx-results"]) == 2
    assert node.rpc("getrawmempool") == [parent.txid().hex(), child.txid().hex()]
    node.rpc("devnet_mine", 1)
    assert node.rpc("gettxout", child.txid().hex(), 0)["confirmations"] == 1


def test_a_package_too_cheap_as_a_whole_stays_out(node: DevnetProcess) -> None:
    parent = spend(fund(node), pays=100_000)
    child = spend(first_output(parent), pays=99_995)
    answer = node.rpc("submitpackage", [parent.serialize().hex(), child.serialize().hex()])
    assert answer["package_msg"] == "transaction failed"
    assert all("error" in result for result in answer["tx-results"].values())
    assert node.rpc("getrawmempool") == []


def test_a_package_replaces_what_its_parent_alone_could_not(node: DevnetProcess) -> None:
    coin = fund(node)
    rival = spend(coin, pays=98_000)
    send(node, rival)
    parent = spend(coin, pays=99_900)
    child = spend(first_output(parent), pays=90_000)
    answer = node.rpc("submitpackage", [parent.serialize().hex(), child.serialize().hex()])
    assert answer["package_msg"] == "success"
    assert answer["replaced-transactions"] == [rival.txid().hex()]
    assert node.rpc("getrawmempool") == [parent.txid().hex(), child.txid().hex()]


def test_chosen_transactions_may_need_waiting_ones_and_push_rivals_out(
    node: DevnetProcess,
) -> None:
    coin, other = fund(node), fund(node)
    parent, rival = spend(coin, pays=99_000), spend(other, pays=99_000)
    send(node, parent)
    send(node, rival)
    send(node, spend(first_output(rival), pays=98_000))
    chosen = spend(first_output(parent), other, pays=150_000)
    [mined] = node.rpc("devnet_mine", 1, [chosen.serialize().hex()], True)
    assert node.rpc("getblock", mined)["tx"][1:] == [parent.txid().hex(), chosen.txid().hex()]
    assert node.rpc("getrawmempool") == []


def test_several_are_tried_as_if_each_stood_on_the_last(node: DevnetProcess) -> None:
    parent = spend(fund(node), pays=99_000)
    child = spend(first_output(parent), pays=98_000)
    answers = node.rpc("testmempoolaccept", [parent.serialize().hex(), child.serialize().hex()])
    assert [answer["allowed"] for answer in answers] == [True, True]
    assert node.rpc("getrawmempool") == []
    [alone] = node.rpc("testmempoolaccept", [child.serialize().hex()])
    assert alone["reject-reason"] == "missing-inputs"


def test_estimates_are_unknown_until_they_are_set(node: DevnetProcess) -> None:
    assert node.rpc("estimatesmartfee", 6) == {
        "errors": ["Insufficient data or no feerate found"],
        "blocks": 6,
    }
    node.rpc("devnet_set_fee_estimate", 12_345)
    assert node.rpc("estimatesmartfee", 1)["feerate"] == pytest.approx(0.00012345)
    node.rpc("devnet_set_fee_estimate", None)


def test_the_wallet_pays_many_outputs_at_once(node: DevnetProcess) -> None:
    outputs = [{"script_hex": ANYONE.hex(), "amount_sat": 1000 + n} for n in range(50)]
    paid = node.rpc("devnet_spend", outputs)
    node.rpc("devnet_mine", 1)
    for n, text in enumerate(paid["outpoints"]):
        outpoint = OutPoint.parse(text)
        value = node.rpc("gettxout", str(outpoint.txid), outpoint.vout)["value"]
        assert round(value * 100_000_000) == 1000 + n


def test_money_is_not_burnt_by_mistake(node: DevnetProcess) -> None:
    burn = spend(fund(node), pays=99_000, script=b"\x6a")
    with refused(-25, "Unspendable output exceeds maximum configured by user"):
        send(node, burn)
