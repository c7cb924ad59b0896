"""What the garbage collector need not look at."""

from __future__ import annotations

import gc


def leave_out_what_is_loaded() -> None:
    """Have the collector pass over all that this process has loaded by now, which stays to its end.

    Else each full collection walks 150,000 objects of modules and libraries and finds no garbage
    among them: 50 ms, about once a second under load, which whoever is served then waits for
    (docs/performance.md). After a fork this copies no page.
    """
    gc.freeze()
