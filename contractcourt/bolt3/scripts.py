"""The witness scripts of a channel's outputs (BOLT 3, "Commitment Transaction Outputs").

"Owner" is the side whose commitment it is, "other" the opposite side. Each function answers the
witness script; what stands in the output is its `p2wsh`.
"""

from __future__ import annotations

from contractcourt.bitcoin.ripemd160 import ripemd160
from contractcourt.bitcoin.script import Op, build, hash160, multisig_2of2
from contractcourt.units import PublicKey, Script

#: After this many blocks anybody may spend an anchor.
ANCHOR_OPEN_AFTER = 16


def funding_script(first: PublicKey, second: PublicKey) -> Script:
    """The 2-of-2 of both funding keys, in any order (rule B1)."""
    return multisig_2of2(first, second)


def to_local(revocation: PublicKey, delay: int, delayed: PublicKey) -> Script:
    """The owner's main output, and every second-level output, which is the same script.

    Args:
        delay: in blocks, as the other side announced it.
    """
    return build(
        *(Op.IF, revocation),
        *(Op.ELSE, delay, Op.CHECKSEQUENCEVERIFY, Op.DROP, delayed),
        *(Op.ENDIF, Op.CHECKSIG),
    )


def to_remote(payment_key: PublicKey) -> Script:
    """The other side's main output under anchors: one block after the commitment.

    Without anchors there is no script: the output is P2WPKH of the same key.
    """
    return build(payment_key, Op.CHECKSIGVERIFY, 1, Op.CHECKSEQUENCEVERIFY)


def anchor(funding_key: PublicKey) -> Script:
    """An anchor: its key's holder at once, anybody after 16 blocks."""
    return build(
        *(funding_key, Op.CHECKSIG, Op.IFDUP),
        *(Op.NOTIF, ANCHOR_OPEN_AFTER, Op.CHECKSEQUENCEVERIFY, Op.ENDIF),
    )


def offered_htlc(
    revocation: PublicKey,
    owner_htlc: PublicKey,
    other_htlc: PublicKey,
    payment_hash: bytes,
    anchors: bool,
) -> Script:
    """An HTLC that the owner offered. Its expiry stands in the HTLC-timeout, not here."""
    return build(
        *_head(revocation, other_htlc),
        *(Op.NOTIF, Op.DROP, 2, Op.SWAP, owner_htlc, 2, Op.CHECKMULTISIG),
        *(Op.ELSE, Op.HASH160, ripemd160(payment_hash), Op.EQUALVERIFY, Op.CHECKSIG),
        *_tail(anchors),
    )


def received_htlc(
    revocation: PublicKey,
    owner_htlc: PublicKey,
    other_htlc: PublicKey,
    payment_hash: bytes,
    cltv_expiry: int,
    anchors: bool,
) -> Script:
    """An HTLC that the owner received. `cltv_expiry` is a height."""
    return build(
        *_head(revocation, other_htlc),
        *(Op.IF, Op.HASH160, ripemd160(payment_hash), Op.EQUALVERIFY),
        *(2, Op.SWAP, owner_htlc, 2, Op.CHECKMULTISIG),
        *(Op.ELSE, Op.DROP, cltv_expiry, Op.CHECKLOCKTIMEVERIFY, Op.DROP, Op.CHECKSIG),
        *_tail(anchors),
    )


def _head(revocation: PublicKey, other_htlc: PublicKey) -> tuple[Op | bytes | int, ...]:
    """The revocation branch, then the question whether a preimage was given."""
    return (
        *(Op.DUP, Op.HASH160, hash160(revocation), Op.EQUAL),
        *(Op.IF, Op.CHECKSIG),
        *(Op.ELSE, other_htlc, Op.SWAP, Op.SIZE, 32, Op.EQUAL),
    )


def _tail(anchors: bool) -> tuple[Op | bytes | int, ...]:
    """Under anchors every branch but the revocation waits one block (CSV 1)."""
    delay = (1, Op.CHECKSEQUENCEVERIFY, Op.DROP) if anchors else ()
    return (Op.ENDIF, *delay, Op.ENDIF)
