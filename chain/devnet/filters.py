"""BIP 158 basic block filters: the scripts a block pays to and spends from, Golomb coded."""

from __future__ import annotations

from chain.devnet.chainstate import Block, ChainState
from contractcourt.bitcoin.transaction import compact_size, sha256d
from contractcourt.units import BlockHash

_P = 19
_M = 784931
_MASK = (1 << 64) - 1
_OP_RETURN = b"\x6a"


class FilterIndex:
    """Filters of the active chain; headers are remembered, as each needs all before it."""

    def __init__(self, chain: ChainState) -> None:
        self._chain = chain
        self._headers: dict[BlockHash, bytes] = {}

    def filter(self, block: Block) -> bytes:
        """The serialised basic filter of an active block."""
        outputs = (item for tx in self._chain.body(block).transactions for item in tx.outputs)
        scripts = {item.script_pubkey for item in outputs if item.script_pubkey[:1] != _OP_RETURN}
        scripts |= {coin.script for _, coin in self._chain.spent_by(block)}
        return coded_set(block.hash, scripts - {b""})

    def header(self, block: Block) -> bytes:
        """BIP 157: the hash chain over all filters up to this block, in internal order."""
        header = bytes(32)
        for at in self._chain.active[: block.height + 1]:
            found = self._headers.get(at.hash)
            if found is None:
                found = self._headers[at.hash] = sha256d(sha256d(self.filter(at)) + header)
            header = found
        return header


def coded_set(block_hash: BlockHash, scripts: set[bytes]) -> bytes:
    """The serialised Golomb-coded set of these scripts, keyed by the block."""
    key = bytes(block_hash)[:16]
    span = len(scripts) * _M
    values = sorted(siphash(key, script) * span >> 64 for script in scripts)
    return compact_size(len(values)) + _golomb_rice(values)


def siphash(key: bytes, data: bytes) -> int:
    """SipHash-2-4 of `data` under a key of 16 bytes."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    state = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]
    whole = len(data) - len(data) % 8
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for word in words:
        state[3] ^= word
        _rounds(state, 2)
        state[0] ^= word
    state[2] ^= 0xFF
    _rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _rounds(v: list[int], count: int) -> None:
    a, b, c, d = v
    for _ in range(count):
        a = (a + b) & _MASK
        b = _rotate(b, 13) ^ a
        a = _rotate(a, 32)
        c = (c + d) & _MASK
        d = _rotate(d, 16) ^ c
        a = (a + d) & _MASK
        d = _rotate(d, 21) ^ a
        c = (c + b) & _MASK
        b = _rotate(b, 17) ^ c
        c = _rotate(c, 32)
    v[:] = a, b, c, d


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK


def _golomb_rice(values: list[int]) -> bytes:
    bits: list[str] = []
    last = 0
    for value in values:
        quotient, rest = divmod(value - last, 1 << _P)
        bits.append("1" * quotient + "0" + f"{rest:0{_P}b}")
        last = value
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""
