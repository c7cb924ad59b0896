"""The witness of every way to spend a channel's outputs, from finished signatures.

A signature here is DER with its sighash byte (`encoded`). The witness script is always the last
item (rule B9); the item order is BOLT 3's, as the rules table "How to read a spend"
lists it.
"""

from __future__ import annotations

from contractcourt.bitcoin.sighash import SIGHASH_ALL
from contractcourt.bolt3.points import der
from contractcourt.units import PublicKey, Script, Secret, Signature

Witness = tuple[bytes, ...]

#: What OP_IF reads as true, and as false; minimal, as policy wants it (MINIMALIF).
_TRUE = b"\x01"
_FALSE = b""


def encoded(signature: Signature, sighash_type: int = SIGHASH_ALL) -> bytes:
    """The signature as a witness holds it: DER, then the sighash byte."""
    return der(signature) + bytes([sighash_type])


def funding(
    first: tuple[PublicKey, bytes], second: tuple[PublicKey, bytes], script: Script
) -> Witness:
    """Spend the funding output: both signatures in the byte order of their keys (B1).

    Args:
        first, second: each side's funding key with its encoded signature, in any order.
        script: the 2-of-2 script.
    """
    (_, lesser), (_, greater) = sorted((first, second))
    return (b"", lesser, greater, bytes(script))


def delayed(signature: bytes, script: Script) -> Witness:
    """The owner takes to_local, or a second-level output, after its delay."""
    return (signature, _FALSE, bytes(script))


def revoked_delayed(signature: bytes, script: Script) -> Witness:
    """The cheated side takes to_local, or a second-level output, by the revocation key."""
    return (signature, _TRUE, bytes(script))


def to_remote(signature: bytes, public_key: PublicKey) -> Witness:
    """Spend a to_remote of a channel without anchors (P2WPKH)."""
    return (signature, bytes(public_key))


def single_signature(signature: bytes, script: Script) -> Witness:
    """Spend a to_remote with anchors (CSV 1), or an anchor by its key."""
    return (signature, bytes(script))


def htlc_timeout(remote: bytes, local: bytes, script: Script) -> Witness:
    """HTLC-timeout: the owner takes back an HTLC it offered on its own commitment."""
    return (b"", remote, local, _FALSE, bytes(script))


def htlc_success(remote: bytes, local: bytes, preimage: Secret, script: Script) -> Witness:
    """HTLC-success: the owner takes an HTLC it received on its own commitment."""
    return (b"", remote, local, bytes(preimage), bytes(script))


def preimage_claim(signature: bytes, preimage: Secret, script: Script) -> Witness:
    """The other side takes, by the preimage, an HTLC that the commitment's owner offered."""
    return (signature, bytes(preimage), bytes(script))


def timeout_claim(signature: bytes, script: Script) -> Witness:
    """The other side takes back, after the expiry, an HTLC that it offered to the owner."""
    return (signature, _FALSE, bytes(script))


def revoked_htlc(signature: bytes, revocation_key: PublicKey, script: Script) -> Witness:
    """The cheated side takes an HTLC output of a revoked commitment by the revocation key."""
    return (signature, bytes(revocation_key), bytes(script))
