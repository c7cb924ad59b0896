"""Appendix D, and the store's promises for every run of secrets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bolt3.secrets import (
    LAST_INDEX,
    SecretStore,
    generate_from_seed,
    insert,
    lookup,
    secret_index,
)
from contractcourt.errors import CommitmentMismatch, RevocationSecretMismatch
from contractcourt.units import Secret
from tests.vectors import vectors

APPENDIX = vectors()["appendix_d_per_commitment_secrets"]
SEED = bytes(range(32))


@pytest.mark.parametrize("told", APPENDIX["generation"], ids=lambda told: told["name"])
def test_generation(told: dict[str, Any]) -> None:
    assert str(generate_from_seed(bytes.fromhex(told["seed"]), told["index"])) == told["output"]


@pytest.mark.parametrize("told", APPENDIX["storage"], ids=lambda told: told["name"])
def test_storage(told: dict[str, Any]) -> None:
    store: SecretStore = ()
    for step in told["steps"]:
        secret = Secret.parse(step["secret"])
        if step["expected"] == "OK":
            store = insert(store, step["index"], secret)
            assert lookup(store, step["index"]) == secret
        else:
            with pytest.raises(RevocationSecretMismatch):
                insert(store, step["index"], secret)


@given(first=st.integers(0, LAST_INDEX), count=st.integers(1, 80))
def test_every_secret_inserted_can_be_found_again(first: int, count: int) -> None:
    """From whichever index the court began: a channel may be registered late."""
    store: SecretStore = ()
    indexes = range(first, max(first - count, -1), -1)
    for index in indexes:
        store = insert(store, index, generate_from_seed(SEED, index))
        assert len(store) <= 49
    for index in indexes:
        assert lookup(store, index) == generate_from_seed(SEED, index)


def test_the_last_secret_of_all_gives_every_other() -> None:
    store = insert((), 1, generate_from_seed(SEED, 1))
    store = insert(store, 0, generate_from_seed(SEED, 0))
    assert store == ((0, Secret(SEED)),)
    assert lookup(store, LAST_INDEX) == generate_from_seed(SEED, LAST_INDEX)


def test_a_secret_not_yet_revealed_is_not_known() -> None:
    store = insert((), LAST_INDEX, generate_from_seed(SEED, LAST_INDEX))
    assert lookup(store, LAST_INDEX - 1) is None


def test_inserting_again_changes_nothing_and_another_secret_is_refused() -> None:
    store = insert((), LAST_INDEX, generate_from_seed(SEED, LAST_INDEX))
    store = insert(store, LAST_INDEX - 1, generate_from_seed(SEED, LAST_INDEX - 1))
    assert insert(store, LAST_INDEX, generate_from_seed(SEED, LAST_INDEX)) == store
    with pytest.raises(RevocationSecretMismatch):
        insert(store, LAST_INDEX, b"\x01" * 32)


@pytest.mark.parametrize(("index", "secret"), [(0, b""), (-1, SEED), (1 << 48, SEED)])
def test_what_is_no_secret_is_refused(index: int, secret: bytes) -> None:
    with pytest.raises(RevocationSecretMismatch):
        insert((), index, secret)


def test_numbers_count_up_while_indexes_count_down() -> None:
    assert secret_index(0) == LAST_INDEX
    assert secret_index(LAST_INDEX) == 0
    with pytest.raises(CommitmentMismatch, match="48 bits"):
        secret_index(-1)
