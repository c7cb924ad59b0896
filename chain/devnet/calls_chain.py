"""Core's calls about blocks and outputs. Method and parameter names are Core's."""

from __future__ import annotations

from typing import Any

from chain.devnet import answers, arguments
from chain.devnet.answers import Json
from chain.devnet.chainstate import Block
from chain.devnet.coins import Coin
from chain.devnet.errors import ErrorCode, RpcError
from chain.devnet.feerate import btc
from chain.devnet.filters import FilterIndex
from chain.devnet.mining import REGTEST_BITS
from chain.devnet.node import Node
from contractcourt.bitcoin.outpoint import OutPoint

_PRUNED = "Block not available (pruned data)"


class ChainCalls:
    """The block tree, blocks, unspent outputs and filters."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chain = node.chain
        self._filters = FilterIndex(node.chain)

    def getblockchaininfo(self) -> Json:
        """State of the chain."""
        tip = self._chain.tip
        info: Json = {
            "chain": "regtest",
            "blocks": tip.height,
            "headers": self._chain.best_known_height,
            "bestblockhash": tip.hash.hex(),
            "bits": f"{REGTEST_BITS:08x}",
            "target": answers.REGTEST_TARGET,
            "difficulty": answers.REGTEST_DIFFICULTY,
            "time": tip.time,
            "mediantime": self._chain.median_time(tip),
            "verificationprogress": 1,
            "initialblockdownload": self._node.syncing,
            "chainwork": answers.chainwork(tip.height),
            "size_on_disk": self._chain.bytes_kept,
            "pruned": self._node.pruned_below is not None,
            "warnings": [],
        }
        if self._node.pruned_below is not None:
            info |= {"pruneheight": self._node.pruned_below, "automatic_pruning": False}
        return info

    def getblockcount(self) -> int:
        """Height of the tip."""
        return self._chain.tip.height

    def getbestblockhash(self) -> str:
        """Hash of the tip."""
        return self._chain.tip.hash.hex()

    def getblockhash(self, height: Any) -> str:
        """Hash of the active chain's block at a height."""
        wanted = arguments.whole_number(height, "height")
        if not 0 <= wanted <= self._chain.tip.height:
            raise RpcError(ErrorCode.INVALID_PARAMETER, "Block height out of range")
        return self._chain.active[wanted].hash.hex()

    def getblockheader(self, blockhash: Any, verbose: Any = True) -> Json | str:
        """A header, as JSON or as hex."""
        block = arguments.block(self._chain, blockhash)
        if verbose:
            return answers.header(self._chain, block)
        return block.raw[:80].hex()

    def getblock(self, blockhash: Any, verbosity: Any = 1) -> Json | str:
        """A block: hex (0), with txids (1) or with transactions (2)."""
        block = self.available(arguments.block(self._chain, blockhash))
        if not int(verbosity):
            return block.raw.hex()
        body = self._chain.body(block)
        answer = answers.header(self._chain, block)
        answer["size"] = len(block.raw)
        answer["tx"] = [
            txid.hex() if int(verbosity) == 1 else answers.transaction(tx, txid)
            for tx, txid in zip(body.transactions, body.txids, strict=True)
        ]
        return answer

    def gettxout(self, txid: Any, n: Any, include_mempool: Any = True) -> Json | None:
        """An unspent output; null when it is spent or unknown."""
        outpoint = arguments.outpoint(txid, n)
        tip = self._chain.tip
        if include_mempool and self._node.mempool.spender(outpoint):
            return None
        coin = self._chain.coins.get(outpoint)
        if coin is None and include_mempool:
            coin = self._node.mempool.coin(outpoint, tip.height + 1)
        if coin is None:
            return None
        return {
            "bestblock": tip.hash.hex(),
            "confirmations": tip.height + 1 - coin.height,
            "value": btc(coin.value),
            "scriptPubKey": answers.script(coin.script),
            "coinbase": coin.coinbase,
        }

    def scantxoutset(self, action: Any, scanobjects: Any = None) -> Json:
        """Every unspent output that pays one of the descriptors raw(hex) or addr(address)."""
        if action != "start":
            raise RpcError(ErrorCode.INVALID_PARAMETER, f"Invalid action '{action}'")
        tip = self._chain.tip
        found = [
            pair
            for item in scanobjects or []
            for pair in self._chain.coins.paying_to(arguments.descriptor(item))
        ]
        return {
            "success": True,
            "txouts": len(self._chain.coins),
            "height": tip.height,
            "bestblock": tip.hash.hex(),
            "unspents": [self._found(outpoint, coin) for outpoint, coin in found],
            "total_amount": btc(sum(coin.value for _, coin in found)),
        }

    def _found(self, outpoint: OutPoint, coin: Coin) -> Json:
        block = self._chain.active[coin.height]
        return {
            "txid": outpoint.txid.hex(),
            "vout": outpoint.vout,
            "scriptPubKey": coin.script.hex(),
            "desc": f"raw({coin.script.hex()})",
            "amount": btc(coin.value),
            "coinbase": coin.coinbase,
            "height": coin.height,
            "blockhash": block.hash.hex(),
            "confirmations": self._chain.tip.height + 1 - coin.height,
        }

    def getchaintips(self) -> list[Json]:
        """The ends of all branches."""
        tips = []
        for block in self._chain.leaves():
            fork = block
            while not self._chain.is_active(fork):
                fork = self._chain.tree[fork.prev_hash]
            status = "invalid" if self._chain.is_invalid(block) else "valid-fork"
            tips.append(
                {
                    "height": block.height,
                    "hash": block.hash.hex(),
                    "branchlen": block.height - fork.height,
                    "status": "active" if block is self._chain.tip else status,
                }
            )
        return tips

    def getindexinfo(self, index_name: Any = "") -> Json:
        """The indexes that are switched on; they are never behind."""
        state = {"synced": True, "best_block_height": self._chain.tip.height}
        options = self._node.options
        switched = {
            "txindex": options.txindex,
            "basic block filter index": options.blockfilterindex,
            "txospenderindex": options.txospenderindex,
        }
        return {name: state for name, on in switched.items() if on and index_name in ("", name)}

    def getblockfilter(self, blockhash: Any, filtertype: Any = "basic") -> Json:
        """The BIP 158 filter of a block of the active chain."""
        if filtertype != "basic":
            raise RpcError(ErrorCode.INVALID_ADDRESS_OR_KEY, "Unknown filtertype")
        if not self._node.options.blockfilterindex:
            raise RpcError(ErrorCode.MISC_ERROR, "Index is not enabled for filtertype basic")
        block = arguments.block(self._chain, blockhash)
        if not self._chain.is_active(block):
            raise RpcError(ErrorCode.INVALID_ADDRESS_OR_KEY, "Filter not found.")
        return {
            "filter": self._filters.filter(block).hex(),
            "header": self._filters.header(block)[::-1].hex(),
        }

    def getblockfrompeer(self, blockhash: Any, peer_id: Any) -> Json:
        """Fetch a pruned block again; the devnet's only peer (0) has them all."""
        block = arguments.block(self._chain, blockhash)
        if peer_id != 0:
            raise RpcError(ErrorCode.MISC_ERROR, "Peer does not exist")
        if self._is_available(block):
            raise RpcError(ErrorCode.MISC_ERROR, "Block already downloaded")
        self._node.fetched.add(block.hash)
        return {}

    def invalidateblock(self, blockhash: Any) -> None:
        """Treat a block and all on it as invalid."""
        block = arguments.block(self._chain, blockhash)
        if block.height == 0:
            raise RpcError(ErrorCode.DATABASE_ERROR, "the genesis block cannot be invalidated")
        self._node.invalidate(block)

    def reconsiderblock(self, blockhash: Any) -> None:
        """Take an invalidateblock back."""
        self._node.reconsider(arguments.block(self._chain, blockhash))

    def available(self, block: Block) -> Block:
        """The block itself. Raises Core's error when it is pruned away."""
        if not self._is_available(block):
            raise RpcError(ErrorCode.MISC_ERROR, _PRUNED)
        return block

    def _is_available(self, block: Block) -> bool:
        below = self._node.pruned_below
        return below is None or block.height >= below or block.hash in self._node.fetched
