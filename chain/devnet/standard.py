"""Which output forms Bitcoin Core relays, and from which value on (policy/policy.cpp)."""

from __future__ import annotations

from contractcourt.bitcoin.transaction import Transaction, TxOut

_OP_RETURN = 0x6A
_OP_CHECKSIG = 0xAC
_OP_CHECKMULTISIG = 0xAE
_DUST_RELAY_SAT_PER_KVB = 3000
_SPEND_BYTES = 148
_WITNESS_SPEND_BYTES = 67
_MAX_WEIGHT = 400_000
_MIN_STRIPPED_BYTES = 65
_MAX_VERSION = 3
_MAX_DUST_OUTPUTS = 1


def is_witness_program(script: bytes) -> bool:
    """BIP 141: a version and one push of 2 to 40 bytes."""
    return (
        4 <= len(script) <= 42
        and (script[0] == 0 or 0x51 <= script[0] <= 0x60)
        and script[1] == len(script) - 2
    )


def script_type(script: bytes) -> str:
    """The name that Core's `scriptPubKey.type` gives this form."""
    if is_witness_program(script):
        return _witness_type(script)
    if script[:1] == bytes([_OP_RETURN]):
        return "nulldata"
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return "pubkeyhash"
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return "scripthash"
    if len(script) in (35, 67) and script[0] == len(script) - 2 and script[-1] == _OP_CHECKSIG:
        return "pubkey"
    if len(script) > 36 and 0x51 <= script[0] <= 0x53 and script[-1] == _OP_CHECKMULTISIG:
        return "multisig"
    return "nonstandard"


def _witness_type(script: bytes) -> str:
    match script[0], len(script):
        case 0, 22:
            return "witness_v0_keyhash"
        case 0, 34:
            return "witness_v0_scripthash"
        case 0, _:
            return "nonstandard"
        case 0x51, 34:
            return "witness_v1_taproot"
        case 0x51, 4 if script[2:] == b"\x4e\x73":
            return "anchor"
        case _:
            return "witness_unknown"


def dust_limit(output: TxOut) -> int:
    """The least value in satoshi that pays for its own spending (`GetDustThreshold`)."""
    if output.script_pubkey[:1] == bytes([_OP_RETURN]):
        return 0
    spend = _WITNESS_SPEND_BYTES if is_witness_program(output.script_pubkey) else _SPEND_BYTES
    return (len(output.serialize()) + spend) * _DUST_RELAY_SAT_PER_KVB // 1000


def is_dust(output: TxOut) -> bool:
    """Core relays it only in a transaction without fee (ephemeral dust)."""
    return output.value < dust_limit(output)


def unfit(tx: Transaction) -> str | None:
    """Core's reason why this form is not relayed; None when it is (`IsStandardTx`)."""
    if not 1 <= tx.version <= _MAX_VERSION:
        return "version"
    if tx.weight() > _MAX_WEIGHT:
        return "tx-size"
    for output in tx.outputs:
        if script_type(output.script_pubkey) == "nonstandard":
            return "scriptpubkey"
    if sum(is_dust(output) for output in tx.outputs) > _MAX_DUST_OUTPUTS:
        return "dust"
    if len(tx.serialize(with_witness=False)) < _MIN_STRIPPED_BYTES:
        return "tx-size-small"
    return None
