"""Work that takes longer than whoever wants it may wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def beside(work: Callable[[], T], name: str) -> Future[T]:
    """What `work` comes to, in a thread that ends with the process, however long it would take."""
    coming: Future[T] = Future()

    def run() -> None:
        try:
            coming.set_result(work())
        except Exception as error:
            coming.set_exception(error)

    Thread(target=run, name=name, daemon=True).start()
    return coming
