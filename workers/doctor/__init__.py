"""`contractcourt doctor`: asks every dependency, and says in plain words what is wrong.

Each check answers with findings, never with an exception: one broken part must not hide another.
`dependencies` asks what others run, `processes` the court's own.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.settings import Settings
from workers.doctor.dependencies import (
    check_bitcoin_node,
    check_postgres,
    check_redis,
    check_settings,
)
from workers.doctor.finding import Finding, wrong
from workers.doctor.processes import check_gateway, check_signer, check_watcher, check_workers
from workers.errors import last_line

_CHECKS: dict[str, Callable[[Settings], list[Finding]]] = {
    "settings": check_settings,
    "postgres": check_postgres,
    "redis": check_redis,
    "bitcoind": check_bitcoin_node,
    "signer": check_signer,
    "gateway": check_gateway,
    "watcher": check_watcher,
    "workers": check_workers,
}


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order of the checks."""
    findings: list[Finding] = []
    for part, check in _CHECKS.items():
        try:
            findings += check(settings)
        except Exception as error:  # a check that fails itself must not hide the others
            words = f"could not be checked ({type(error).__name__}: {last_line(error)})"
            findings.append(wrong(part, words))
    return findings
