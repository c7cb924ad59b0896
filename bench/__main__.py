"""Runs benches and prints what they found, for people and as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

from bench.machine import machine
from tasks import logs

_BENCHES = (
    "block_scan",
    "quiet_block",
    "updates",
    "rescan",
    "held_snapshot",
    "retention",
    "desk",
    "soak",
    "mass_close",
    "latency",
)
_RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str]) -> int:
    """Run the named benches, or all."""
    asked = _arguments(arguments)
    logs.configure("bench", level="warning", fmt="console", stream=sys.stderr)
    sizes = [one for one in asked.what if "=" in one]
    names = [one for one in asked.what if "=" not in one] or list(_BENCHES)
    unknown = set(names) - set(_BENCHES)
    if unknown:
        print(f"no bench {', '.join(sorted(unknown))}; there is {', '.join(_BENCHES)}")
        return 2
    for name in names:
        found = _run(name, full=asked.full, sizes=sizes)
        print(json.dumps(found, indent=2))
        if asked.keep:
            _RESULTS.mkdir(exist_ok=True)
            (_RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", help="names of benches, and sizes: BENCH.SIZE=NUMBER")
    parser.add_argument("--full", action="store_true", help="the sizes of the promises")
    parser.add_argument("--keep", action="store_true", help="write results to bench/results")
    return parser.parse_args(arguments)


def _run(name: str, *, full: bool, sizes: list[str]) -> dict[str, object]:
    module = import_module(f"bench.{name}")
    chosen: dict[str, int] = dict(module.FULL) if full else {}
    for size in sizes:
        key, _, value = size.partition("=")
        bench, _, field = key.partition(".")
        if bench == name:
            chosen[field] = int(value)
    print(f"{name} ...", file=sys.stderr, flush=True)
    load, began = os.getloadavg()[0], time.perf_counter()
    figures = module.run(**chosen)
    return {
        "bench": name,
        "sizes": chosen or "quick",
        "figures": figures,
        "seconds": round(time.perf_counter() - began, 1),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "machine": machine(),
    }


sys.exit(main(sys.argv[1:]))
