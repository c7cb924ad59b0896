"""Pins every dependency with its hashes: `make lock`.

requirements.lock is for development, `up` and the demo (all extras, every supported Python);
deploy/fleet.lock is for the fleet's image, which brings no embedded server and no test tool;
deploy/tools.lock is for `make manifests` alone, and tests/browser/requirements.lock is what
`make browser` adds to the first.
None of them names a package registry: pip asks whichever it is configured for.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
#: Lock -> what is locked, and of it.
LOCKS = {
    "requirements.lock": ["pyproject.toml", "--all-extras"],
    "deploy/fleet.lock": ["pyproject.toml", "--extra=build", "--extra=consensus"],
    "deploy/tools.lock": ["deploy/tools.in"],
    # Goes beside what requirements.lock has installed already.
    "tests/browser/requirements.lock": [
        "tests/browser/requirements.in",
        "--constraint=requirements.lock",
    ],
}
ALWAYS = [
    "--universal",
    "--python-version=3.11",
    "--prerelease=if-necessary-or-explicit",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--quiet",
]


def main() -> None:
    for name, options in LOCKS.items():
        subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile"),
                *(*options, *ALWAYS, "-o", name),
            ],
            cwd=PROJECT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        content = (PROJECT / name).read_text()
        if re.search(r"://|--index|--find-links", content):
            sys.exit(f"{name} names a registry; it must not")
        print(f"{name}: {len(re.findall(r'^[a-z0-9].*==', content, re.M))} packages")


if __name__ == "__main__":
    main()
