"""Keeps the court's own log lines out of a bench: writing them is no part of any figure here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def quiet() -> Iterator[None]:
    """Only errors are shown, as with CONTRACTCOURT_LOG_LEVEL=error."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()
