"""What a signature on a segwit version 0 input signs (BIP 143)."""

from __future__ import annotations

from contractcourt.bitcoin.transaction import Transaction, compact_size, sha256d

SIGHASH_ALL = 0x01
SIGHASH_NONE = 0x02
SIGHASH_SINGLE = 0x03
SIGHASH_ANYONECANPAY = 0x80
#: The peer's signature on a second-level transaction under anchors (rule H3).
SIGHASH_SINGLE_ANYONECANPAY = SIGHASH_SINGLE | SIGHASH_ANYONECANPAY

_NOTHING = bytes(32)


def segwit_v0(
    tx: Transaction, input_index: int, script_code: bytes, value_sat: int, sighash_type: int
) -> bytes:
    """The 32-byte digest that input `input_index` is signed by.

    Args:
        script_code: the witness script (P2WSH), or `p2wpkh_script_code` of the key (P2WPKH).
        value_sat: the value of the spent output.
        sighash_type: ALL, NONE or SINGLE, each with or without ANYONECANPAY.

    Raises:
        IndexError: `tx` has no such input.
    """
    signed = tx.inputs[input_index]
    base_type = sighash_type & 0x1F
    own_sequence_only = bool(sighash_type & SIGHASH_ANYONECANPAY) or base_type in (
        SIGHASH_NONE,
        SIGHASH_SINGLE,
    )
    return sha256d(
        b"".join(
            (
                tx.version.to_bytes(4, "little"),
                _hash_outpoints(tx, sighash_type),
                _NOTHING if own_sequence_only else _hash_sequences(tx),
                signed.outpoint,
                compact_size(len(script_code)),
                script_code,
                value_sat.to_bytes(8, "little"),
                signed.sequence.to_bytes(4, "little"),
                _hash_outputs(tx, input_index, base_type),
                tx.locktime.to_bytes(4, "little"),
                sighash_type.to_bytes(4, "little"),
            )
        )
    )


def _hash_outpoints(tx: Transaction, sighash_type: int) -> bytes:
    if sighash_type & SIGHASH_ANYONECANPAY:
        return _NOTHING
    return sha256d(b"".join(item.outpoint for item in tx.inputs))


def _hash_sequences(tx: Transaction) -> bytes:
    return sha256d(b"".join(item.sequence.to_bytes(4, "little") for item in tx.inputs))


def _hash_outputs(tx: Transaction, input_index: int, base_type: int) -> bytes:
    if base_type == SIGHASH_NONE:
        return _NOTHING
    if base_type != SIGHASH_SINGLE:
        return sha256d(b"".join(output.serialize() for output in tx.outputs))
    if input_index >= len(tx.outputs):
        return _NOTHING
    return sha256d(tx.outputs[input_index].serialize())
