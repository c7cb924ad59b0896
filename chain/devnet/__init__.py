"""A regtest Bitcoin node for demos and tests, with Bitcoin Core's own consensus.

Blocks are judged by Bitcoin Core's library (py-bitcoinkernel); what stands beside it here is what
the library leaves out: a UTXO set that can be asked, a small mempool with Core's policy texts,
mining, and the part of Core's JSON-RPC and REST that the court's client speaks, so that the very
same client code talks to this node and to bitcoind. Calls that only a test may make (faults,
reorgs, a fee floor) have the prefix `devnet_`.

It may import `contractcourt` only. Begin with `node`, then `rpc` for the calls; `process` starts
one from a test or a supervisor. It holds no real money: regtest only.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one devnet until it is asked to stop; see `command.main`.

    The import waits until it is needed, so that `process` works where the kernel is missing.
    """
    from chain.devnet import command

    return command.main(argv)
