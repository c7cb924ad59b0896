"""What a node's refusal of a transaction means: its code and reason, sorted (users_ask L5).

Texts of Bitcoin Core 29 to 32. Codes alone tell too little, texts change between releases: a
reason that no row knows is `UNKNOWN`, which is retried and alarmed, never final.
"""

from __future__ import annotations

from contractcourt.events import PublishOutcome

_ALREADY_IN_UTXO_SET = -27

#: (token in the reason, meaning); the first that matches decides.
_REASONS: tuple[tuple[str, PublishOutcome], ...] = (
    ("txn-already-in-mempool", PublishOutcome.ALREADY_KNOWN),
    ("txn-already-known", PublishOutcome.ALREADY_KNOWN),
    ("txn-same-nonwitness-data-in-mempool", PublishOutcome.ALREADY_KNOWN),
    ("already in utxo set", PublishOutcome.ALREADY_KNOWN),
    ("already in block chain", PublishOutcome.ALREADY_KNOWN),
    ("bad-txns-inputs-missingorspent", PublishOutcome.MISSING_INPUTS),
    ("missing-inputs", PublishOutcome.MISSING_INPUTS),
    ("missing inputs", PublishOutcome.MISSING_INPUTS),
    ("txn-mempool-conflict", PublishOutcome.DOUBLE_SPEND),
    ("bad-txns-spends-conflicting-tx", PublishOutcome.DOUBLE_SPEND),
    ("insufficient fee", PublishOutcome.DOUBLE_SPEND),
    ("replacement-failed", PublishOutcome.DOUBLE_SPEND),
    ("too many potential replacements", PublishOutcome.DOUBLE_SPEND),
    ("replacement-adds-unconfirmed", PublishOutcome.DOUBLE_SPEND),
    ("min relay fee not met", PublishOutcome.FEE_TOO_LOW),
    ("mempool min fee not met", PublishOutcome.FEE_TOO_LOW),
    ("mempool full", PublishOutcome.FEE_TOO_LOW),
    ("non-bip68-final", PublishOutcome.NON_FINAL),
    ("non-final", PublishOutcome.NON_FINAL),
    ("bad-txns-premature-spend-of-coinbase", PublishOutcome.NON_FINAL),
    ("mandatory-script-verify-flag-failed", PublishOutcome.INVALID),
    ("block-script-verify-flag-failed", PublishOutcome.INVALID),
    ("bad-txns-", PublishOutcome.INVALID),
    ("bad-witness-nonstandard", PublishOutcome.POLICY),
    ("non-mandatory-script-verify-flag", PublishOutcome.POLICY),
    ("mempool-script-verify-flag-failed", PublishOutcome.INVALID),
    ("tx decode failed", PublishOutcome.INVALID),
    ("truc-violation", PublishOutcome.POLICY),
    ("too-long-mempool-chain", PublishOutcome.POLICY),
    ("too-large-cluster", PublishOutcome.POLICY),
    ("max-fee-exceeded", PublishOutcome.POLICY),
    ("fee exceeds maximum", PublishOutcome.POLICY),
    ("scriptpubkey", PublishOutcome.POLICY),
    ("scriptsig-", PublishOutcome.POLICY),
    ("bare-multisig", PublishOutcome.POLICY),
    ("tx-size", PublishOutcome.POLICY),
    ("tx-size-small", PublishOutcome.POLICY),
    ("version", PublishOutcome.POLICY),
    ("dust", PublishOutcome.POLICY),
    ("multi-op-return", PublishOutcome.POLICY),
    ("datacarrier", PublishOutcome.POLICY),
)


def outcome_of(code: int, reason: str) -> PublishOutcome:
    """What this refusal means."""
    text = reason.lower()
    for token, outcome in _REASONS:
        if token in text:
            return outcome
    if code == _ALREADY_IN_UTXO_SET:
        return PublishOutcome.ALREADY_KNOWN
    return PublishOutcome.UNKNOWN
