"""Every order of events to a depth, and at random beyond it, with the promises as invariants."""

from __future__ import annotations

import os

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from tests.model.walk import LATER, stroll, walk
from tests.summary import Summary

BOTH_TYPES = pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
#: `make model DEPTH=4` goes deeper.
_DEPTH = int(os.environ.get("MODEL_DEPTH", "3"))


@BOTH_TYPES
def test_the_promises_hold_in_every_order(channel_type: str, summary: Summary) -> None:
    walked = walk(channel_type, _DEPTH)
    summary(f"model, every order of {_DEPTH} events, {channel_type}: {walked.words()}")
    assert walked.ends == len(walked.states) > 1_500


@BOTH_TYPES
@pytest.mark.parametrize("after", LATER)
def test_the_promises_hold_in_every_order_later(
    channel_type: str, after: tuple[str, ...], summary: Summary
) -> None:
    walked = walk(channel_type, _DEPTH, after=after)
    summary(f"model, {_DEPTH} events after {after}, {channel_type}: {walked.words()}")
    assert walked.ends == len(walked.states) > 300


@BOTH_TYPES
@pytest.mark.parametrize("seed", [1, 2])
def test_the_promises_hold_on_random_walks(channel_type: str, seed: int, summary: Summary) -> None:
    walked = stroll(channel_type, seed, 3_000)
    summary(f"model, random walk {seed}, {channel_type}: {walked.words()}")
    assert walked.ends == 50
