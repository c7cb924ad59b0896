"""Pins every dependency with its hashes: `make lock`.

requirements.lock is for development, `up` and the demo (all extras, every supported Python);
deploy/fleet.lock is for the fleet's image, which brings no embedded server and no test tool.
Neither names a package registry: pip asks whichever it is configured for.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
LOCKS = {
    "requirements.lock": ["--all-extras", "--universal", "--python-version", "3.11"],
    "deploy/fleet.lock": [
        "--extra=build",
        "--extra=consensus",
        "--universal",
        "--python-version",
        "3.11",
    ],
}
ALWAYS = [
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
                *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml"),
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
