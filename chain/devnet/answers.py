"""Blocks, transactions and outputs as Core's calls answer them."""

from __future__ import annotations

from typing import Any

from chain.devnet.address import address_of
from chain.devnet.chainstate import Block, ChainState
from chain.devnet.feerate import btc
from chain.devnet.mempool import Entry, Mempool, wtxid_of
from chain.devnet.mining import REGTEST_BITS
from chain.devnet.standard import script_type
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.units import Txid

REGTEST_TARGET = "7fffff" + "00" * 29
REGTEST_DIFFICULTY = 4.656542373906925e-10
Json = dict[str, Any]


def chainwork(height: int) -> str:
    """The work of a regtest chain: two hashes a block."""
    return f"{2 * (height + 1):064x}"


def confirmations(chain: ChainState, block: Block) -> int:
    """Core's count: 1 for the tip, -1 beside the active chain."""
    return chain.tip.height - block.height + 1 if chain.is_active(block) else -1


def header(chain: ChainState, block: Block) -> Json:
    """`getblockheader` with verbosity."""
    raw = block.raw
    version = int.from_bytes(raw[:4], "little")
    answer: Json = {
        "hash": block.hash.hex(),
        "confirmations": confirmations(chain, block),
        "height": block.height,
        "version": version,
        "versionHex": f"{version:08x}",
        "merkleroot": raw[36:68][::-1].hex(),
        "time": block.time,
        "mediantime": chain.median_time(block),
        "nonce": int.from_bytes(raw[76:80], "little"),
        "bits": f"{REGTEST_BITS:08x}",
        "target": REGTEST_TARGET,
        "difficulty": REGTEST_DIFFICULTY,
        "chainwork": chainwork(block.height),
        "nTx": len(chain.body(block).txids),
    }
    if block.height:
        answer["previousblockhash"] = block.prev_hash.hex()
    if chain.is_active(block) and block is not chain.tip:
        answer["nextblockhash"] = chain.active[block.height + 1].hash.hex()
    return answer


def script(script_pubkey: bytes) -> Json:
    """`scriptPubKey` of an output, without its disassembly."""
    answer: Json = {"hex": script_pubkey.hex(), "type": script_type(script_pubkey)}
    address = address_of(script_pubkey)
    if address:
        answer["address"] = address
    return answer


def transaction(tx: Transaction, txid: Txid) -> Json:
    """A decoded transaction."""
    raw = tx.serialize()
    vin = [
        {
            "txid": item.outpoint.txid.hex(),
            "vout": item.outpoint.vout,
            "scriptSig": {"hex": item.script_sig.hex()},
            "txinwitness": [element.hex() for element in item.witness],
            "sequence": item.sequence,
        }
        for item in tx.inputs
    ]
    vout = [
        {"value": btc(output.value), "n": index, "scriptPubKey": script(output.script_pubkey)}
        for index, output in enumerate(tx.outputs)
    ]
    return {
        "txid": txid.hex(),
        "hash": wtxid_of(raw).hex(),
        "version": tx.version,
        "size": len(raw),
        "vsize": tx.vsize(),
        "weight": tx.weight(),
        "locktime": tx.locktime,
        "vin": vin,
        "vout": vout,
        "hex": raw.hex(),
    }


def entry(mempool: Mempool, item: Entry) -> Json:
    """`getmempoolentry`."""
    above, below = mempool.descendants(item), mempool.ancestors(item)
    return {
        "vsize": item.vsize,
        "weight": item.weight,
        "time": item.time,
        "height": item.height,
        "descendantcount": len(above),
        "descendantsize": sum(one.vsize for one in above),
        "ancestorcount": len(below),
        "ancestorsize": sum(one.vsize for one in below),
        "wtxid": item.wtxid.hex(),
        "fees": {
            "base": btc(item.fee),
            "modified": btc(item.fee),
            "ancestor": btc(sum(one.fee for one in below)),
            "descendant": btc(sum(one.fee for one in above)),
        },
        "depends": [one.txid.hex() for one in mempool.parents(item)],
        "spentby": [one.txid.hex() for one in mempool.children(item)],
        "bip125-replaceable": True,
        "unbroadcast": False,
    }
