"""Per-commitment secrets: made from one seed, kept in at most 49 slots (BOLT 3, rule B7).

The index counts down from 2^48 - 1 while the commitment number counts up from 0. A secret whose
index ends in n zero bits gives every secret that differs from it in those n bits only, so that a
store of a few secrets gives all that were ever revealed.
"""

from __future__ import annotations

from hashlib import sha256

from contractcourt.errors import CommitmentMismatch, RevocationSecretMismatch
from contractcourt.units import Secret

INDEX_BITS = 48
#: Also the index of commitment number 0.
LAST_INDEX = (1 << INDEX_BITS) - 1

#: (index, secret) pairs, the lowest index first. Immutable; `insert` answers a new one.
SecretStore = tuple[tuple[int, Secret], ...]


def secret_index(number: int) -> int:
    """The secret index of commitment `number` (rule B4).

    Raises CommitmentMismatch beyond 48 bits.
    """
    if not 0 <= number <= LAST_INDEX:
        raise CommitmentMismatch(f"commitment number {number} does not fit 48 bits")
    return LAST_INDEX - number


def generate_from_seed(seed: bytes, index: int) -> Secret:
    """The per-commitment secret of `index` from a 32-byte seed."""
    return _derive(seed, INDEX_BITS, index)


def insert(store: SecretStore, index: int, secret: bytes) -> SecretStore:
    """The store with one more revealed secret.

    The two sides reveal them in order, the index going down by one; of a channel that the court
    learned of late the earlier may come later. Stored secrets that the new one gives are dropped.

    Raises:
        RevocationSecretMismatch: the new secret does not give the ones already held, or is not
            what the store itself gives for `index`: the peer broke the scheme.
    """
    if len(secret) != 32 or not 0 <= index <= LAST_INDEX:
        raise RevocationSecretMismatch("a secret is 32 bytes and its index fits 48 bits")
    known = lookup(store, index)
    if known is not None:
        if known != secret:
            raise RevocationSecretMismatch(f"secret {index} is known already, as another one")
        return store
    kept = []
    for held_index, held in store:
        if not _gives(index, held_index):
            kept.append((held_index, held))
        elif _derive(secret, _zero_bits(index), held_index) != held:
            raise RevocationSecretMismatch(f"secret {index} does not give secret {held_index}")
    return tuple(sorted([*kept, (index, Secret(secret))]))


def lookup(store: SecretStore, index: int) -> Secret | None:
    """The secret of `index`, or None when the store does not give it."""
    for held_index, held in store:
        if _gives(held_index, index):
            return _derive(held, _zero_bits(held_index), index)
    return None


def first_missing(store: SecretStore, first: int, below: int) -> int | None:
    """The first commitment number from `first` on, and below `below`, whose secret is not given."""
    number = first
    while number < below:
        index = secret_index(number)
        giving = next((held for held, _ in store if _gives(held, index)), None)
        if giving is None:
            return number
        number = LAST_INDEX - giving + 1
    return None


def _gives(index: int, wanted: int) -> bool:
    """Whether the secret of `index` gives that of `wanted`."""
    zeros = _zero_bits(index)
    return index >> zeros == wanted >> zeros


def _zero_bits(index: int) -> int:
    """How many zero bits an index ends in; index 0 is the seed itself."""
    return (index & -index).bit_length() - 1 if index else INDEX_BITS


def _derive(base: bytes, bits: int, index: int) -> Secret:
    value = bytearray(base)
    for bit in reversed(range(bits)):
        if index >> bit & 1:
            value[bit // 8] ^= 1 << bit % 8
            value = bytearray(sha256(value).digest())
    return Secret(value)
