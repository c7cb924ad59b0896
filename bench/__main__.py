"""Runs benches and prints what they found, for people and as JSON."""

from __future__ import annotations

import json
import sys
from importlib import import_module

from bench.machine import machine

_BENCHES = ("block_scan",)


def main(names: list[str]) -> int:
    """Run the named benches, or all."""
    unknown = set(names) - set(_BENCHES)
    if unknown:
        print(f"no bench {', '.join(sorted(unknown))}; there is {', '.join(_BENCHES)}")
        return 2
    found: dict[str, object] = {"machine": machine()}
    for name in names or _BENCHES:
        found[name] = import_module(f"bench.{name}").run()
        print(f"{name}: {found[name]}")
    print(json.dumps(found))
    return 0


sys.exit(main(sys.argv[1:]))
