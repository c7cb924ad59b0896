"""What a node's refusal of a transaction means: its code and reason, sorted (users_ask L5).

Core writes `reason[, details]`: the longest row that the text begins with decides, so details
never do. Texts of Bitcoin Core 29 to 32. Codes alone tell too little, and texts change between
releases: a reason that no row knows is `UNKNOWN`, which is retried and alarmed, never final.
"""

from __future__ import annotations

from contractcourt.events import PublishOutcome

#: `RPC_VERIFY_ALREADY_IN_UTXO_SET`: the one code that means one thing.
_ALREADY_IN_UTXO_SET = -27

_ROWS: dict[PublishOutcome, tuple[str, ...]] = {
    PublishOutcome.ALREADY_KNOWN: (
        "txn-already-in-mempool",
        "txn-already-known",
        # The same effect under another witness; ours need not win.
        "txn-same-nonwitness-data-in-mempool",
        "transaction outputs already in utxo set",
        "transaction already in block chain",
    ),
    PublishOutcome.MISSING_INPUTS: (
        "bad-txns-inputs-missingorspent",
        "missing-inputs",
        "missing inputs",
        "inputs missing or spent",
        # Of a package: a transaction before it was refused, so its output is not there.
        "transaction failed",
    ),
    # Something else that spends the same output is in the mempool, and stays there.
    PublishOutcome.DOUBLE_SPEND: (
        "txn-mempool-conflict",
        "bip125-replacement-disallowed",
        "bad-txns-spends-conflicting-tx",
        "insufficient fee",
        "replacement-failed",
        "replacement-adds-unconfirmed",
        "too many potential replacements",
        "package rbf failed",
    ),
    PublishOutcome.FEE_TOO_LOW: (
        "min relay fee not met",
        "mempool min fee not met",
        "mempool full",
    ),
    PublishOutcome.NON_FINAL: (
        "non-final",
        "non-bip68-final",
        "bad-txns-premature-spend-of-coinbase",
    ),
    PublishOutcome.INVALID: (
        "mandatory-script-verify-flag-failed",
        "mempool-script-verify-flag-failed",  # 30 and later, for every flag
        "block-script-verify-flag-failed",
        "bad-txns-",
        "coinbase",
        "tx decode failed",
    ),
    PublishOutcome.POLICY: (
        "non-mandatory-script-verify-flag",  # before 30
        "bad-txns-nonstandard-inputs",
        "bad-txns-too-many-sigops",
        "bad-witness-nonstandard",
        "truc-violation",
        "too-long-mempool-chain",  # before 31
        "too-large-cluster",  # 31 and later
        "package-mempool-limits",
        "missing-ephemeral-spends",
        "max-fee-exceeded",
        "max feerate exceeded",
        "fee exceeds maximum configured by user",
        "unspendable output exceeds maximum configured by user",
        "private broadcast queue is full",
        "scriptpubkey",
        "scriptsig-",
        "bare-multisig",
        "tx-size",
        "version",
        "dust",
        "multi-op-return",
        "datacarrier",
    ),
}
_LONGEST_FIRST = sorted(
    ((row, outcome) for outcome, rows in _ROWS.items() for row in rows),
    key=lambda known: -len(known[0]),
)


def outcome_of(code: int, reason: str) -> PublishOutcome:
    """What this refusal means."""
    text = reason.strip().lower()
    for row, outcome in _LONGEST_FIRST:
        if text.startswith(row):
            return outcome
    return PublishOutcome.ALREADY_KNOWN if code == _ALREADY_IN_UTXO_SET else PublishOutcome.UNKNOWN
