"""Pauses between attempts, each twice as long as the one before."""

from __future__ import annotations


def growing(failures: str) -> str:
    """SQL for a pause of two to the power of this expression in seconds, `%(longest)s` at most."""
    return f"make_interval(secs => least(%(longest)s::float8, power(2, least({failures}, 20))))"
