"""Bitcoin Core's consensus, by py-bitcoinkernel: which blocks are valid, and which tip wins.

The kernel's databases stay in memory: the devnet keeps its own file of blocks and shows them to
a new kernel at each start (about 10,000 blocks a second). That is also how a block is invalidated,
which the library has no call for: a new kernel is shown every block but that one.
"""

from __future__ import annotations

import re
import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from chain.devnet.errors import BlockRefused, KernelMissing, KernelNotStarted
from contractcourt.units import BlockHash

try:
    import pbk
    from pbk.script import PrecomputedTransactionData
except ImportError as error:  # pragma: no cover - the package is an optional extra
    raise KernelMissing from error

# Why a block is refused stands only in the log: "... AcceptBlock FAILED (prev-blk-not-found)",
# "... block-script-verify-flag-failed (Locktime requirement not satisfied), input 0 of ...".
_NAMED_REASON = re.compile(
    r"\b((?:bad|block|time|high|unexpected)-[A-Za-z0-9-]+(?: \((?:[^()]|\([^()]*\))*\))?)"
)
_ANY_REASON = re.compile(r"FAILED \(([a-z][^,)]*)")


class Kernel:
    """One chainstate of the kernel, from genesis on. `scratch` is emptied and used.

    Raises KernelNotStarted when it can't be, as on a full disk.
    """

    def __init__(self, scratch: Path) -> None:
        self._log: deque[str] = deque(maxlen=50)
        self._logging = pbk.LoggingConnection(self._logged)
        self._refused: set[bytes] = set()
        self._scratch = scratch
        shutil.rmtree(scratch, ignore_errors=True)
        callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._block_checked)
        self._context = pbk.make_context(pbk.ChainType.REGTEST, callbacks)
        try:
            self._manager = pbk.ChainstateManager(self._options())
        except RuntimeError as error:
            raise KernelNotStarted(
                f"the devnet's chain can't be kept in {scratch.parent}: {self._last_error()}; "
                "make room there, or choose another folder"
            ) from error
        self._chain = self._manager.get_active_chain()

    def close(self) -> None:
        """Let go of the kernel and of its scratch folder."""
        del self._chain
        del self._manager
        del self._context
        del self._logging
        shutil.rmtree(self._scratch, ignore_errors=True)

    def genesis(self) -> bytes:
        """The raw regtest genesis block."""
        return bytes(self._manager.blocks[self._chain.block_tree_entries[0]])

    def height(self) -> int:
        """The height of the tip with the most work."""
        return int(self._chain.height)

    def hash_at(self, height: int) -> BlockHash:
        """The hash of the active chain's block at `height`, which must exist."""
        return BlockHash(bytes(self._chain.block_tree_entries[height].block_hash))

    def process(self, raw: bytes) -> None:
        """Show one block to consensus. A block seen before is no error.

        Raises BlockRefused with the kernel's reason when the block is malformed, breaks a rule
        or does not connect to a known block.
        """
        self._log.clear()
        self._refused.clear()
        try:
            block = pbk.Block(raw)
        except RuntimeError as error:
            raise BlockRefused("Block decode failed") from error
        try:
            self._manager.process_block(block)
        except pbk.ProcessBlockException as error:
            raise BlockRefused(self._reason()) from error
        if self._refused:  # this block, or one below it that was never tried before
            raise BlockRefused(self._reason())

    def _block_checked(self, _: object, block: pbk.Block, state: pbk.BlockValidationState) -> None:
        if state.validation_mode != pbk.ValidationMode.VALID:
            self._refused.add(bytes(block.block_hash))

    def _logged(self, line: str) -> None:
        self._log.append(line)

    def _options(self) -> pbk.ChainstateManagerOptions:
        folder = self._scratch.absolute()
        options = pbk.ChainstateManagerOptions(self._context, str(folder), str(folder / "blocks"))
        options.update_block_tree_db_in_memory(True)
        options.update_chainstate_db_in_memory(True)
        return options

    def _last_error(self) -> str:
        words = (line.partition("[error] ")[2].strip() for line in reversed(self._log))
        return next(filter(None, words), "the kernel does not say why")

    def _reason(self) -> str:
        for line in reversed(self._log):
            if "rror" in line and (found := _NAMED_REASON.search(line) or _ANY_REASON.search(line)):
                return found.group(1)
        return "rejected"


def first_bad_input(raw_tx: bytes, spent: Sequence[tuple[int, bytes]]) -> int | None:
    """Which input's script fails; None when all pass.

    Args:
        raw_tx: the whole transaction with its witnesses.
        spent: value in satoshi and scriptPubKey of every spent output, in input order.
    """
    tx = pbk.Transaction(raw_tx)
    scripts = [pbk.ScriptPubkey(script) for _, script in spent]
    outputs = [
        pbk.TransactionOutput(script, value)
        for script, (value, _) in zip(scripts, spent, strict=True)
    ]
    precomputed = PrecomputedTransactionData(tx, outputs)
    for index, (value, _) in enumerate(spent):
        flags = pbk.ScriptVerificationFlags.ALL
        if not scripts[index].verify(value, tx, precomputed, index, flags):
            return index
    return None
