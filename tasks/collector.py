"""How seldom the garbage collector looks, and what it need not look at."""

from __future__ import annotations

import gc

#: Objects made and not given up again before the collector looks at the youngest. By default 700,
#: which are the cases of five channels: what a commit works on is no garbage, and a twentieth of a
#: worker's time went into finding that out.
_MADE_BEFORE_A_LOOK = 50_000


def collect_seldom() -> None:
    """Have the collector pass over all that this process has loaded by now, and look seldom.

    What is loaded stays to the end of the process: each full collection walks 150,000 objects of
    modules and libraries and finds no garbage among them: 50 ms, about once a second under load,
    which whoever is served then waits for (docs/performance.md). After a fork this copies no page.
    """
    gc.freeze()
    gc.set_threshold(_MADE_BEFORE_A_LOOK)
