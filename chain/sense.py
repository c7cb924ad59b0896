"""Answers that make no sense: an error of the node that gave them, never of whoever asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from chain.errors import SenselessAnswer
from contractcourt.errors import ContractCourtError

T = TypeVar("T")

#: What reading a field, a number or a hash that is not there ends in.
_NOT_UNDERSTOOD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
_MOST_CHARACTERS = 1_000


def in_words(answer: Any) -> str:
    """What a node says in words of its own, as a page, a log and Postgres can hold it."""
    return "".join(one if one.isprintable() else "?" for one in str(answer)[:_MOST_CHARACTERS])


def must_make_sense(view: type[T]) -> type[T]:
    """Have every public method raise SenselessAnswer for an answer that it can't read.

    A process that follows the chain then pauses and asks again, as when the node is away.
    """
    for name, method in list(vars(view).items()):
        if callable(method) and not name.startswith("_"):
            setattr(view, name, _reading(method))
    return view


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def read(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except ContractCourtError:
            raise
        except _NOT_UNDERSTOOD as error:
            words = f"{method.__name__}: the Bitcoin node's answer makes no sense: {error!r}"
            raise SenselessAnswer(in_words(words)) from error

    return read
