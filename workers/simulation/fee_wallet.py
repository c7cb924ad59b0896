"""Fee wallets of simulated nodes: a public toy key, and a path of its own for each node."""

from __future__ import annotations

import hashlib

from contractcourt.units import Script
from workers.signer.fee_wallet import descriptor_checksum, parse_fee_wallet

#: The first test vector of BIP 32, as test chains write it: the whole world knows it.
_TOY_KEY = (
    "tprv8ZgxMBicQKsPeDgjzdC36fs6bMjGApWDNLR9erAXMs5skhMv36j9MV5ecvfavji5khqjWaWSFhN3YcCUUdiKH6isR"
    "4Pwy3U5y5egddBr16m"
)


def descriptor(node: str) -> str:
    """The descriptor of this node's fee wallet, with its checksum."""
    branch = int.from_bytes(hashlib.sha256(node.encode()).digest()[:3], "big")
    body = f"wpkh({_TOY_KEY}/{branch}/*)"
    return f"{body}#{descriptor_checksum(body)}"


def scripts(node: str) -> list[Script]:
    """Its scripts."""
    return parse_fee_wallet(descriptor(node)).scripts()
