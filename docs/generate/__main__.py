"""`python -m docs.generate` writes the pages; with `--check` it says which are out of date."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from docs.generate import (
    alarms,
    commands,
    configuration,
    http_api,
    metrics,
    state_machine,
    webhooks,
)

DOCS = Path(__file__).parent.parent
#: Page -> what writes it.
PAGES: dict[str, Callable[[], str]] = {
    "explanation/state-machine.md": state_machine.write,
    "reference/cli.md": commands.write,
    "reference/configuration.md": configuration.write,
    "reference/http-api.md": http_api.write,
    "reference/metrics.md": metrics.write,
    "reference/openapi.json": http_api.write_openapi,
    "reference/webhook-events.md": webhooks.write,
}


def main() -> int:
    """Write what is out of date, or only name it; 1 when a check finds something."""
    check = "--check" in sys.argv[1:]
    stale = [page for page in PAGES if write_one(page, check=check)]
    for page in stale:
        print(f"docs/{page} {'is not what the code says' if check else 'is written anew'}")
    if check and stale:
        print("run `make docs` and commit what it writes", file=sys.stderr)
    gaps = alarms.gaps((DOCS / alarms.PAGE).read_text())
    for gap in gaps:
        print(f"{gap}: say its cause and what to do", file=sys.stderr)
    if gaps or (check and stale):
        return 1
    print(f"{len(PAGES)} pages of docs/ are what the code says")
    return 0


def write_one(page: str, *, check: bool, docs: Path = DOCS) -> bool:
    """Whether the page was out of date; it is written unless this is a check."""
    path = docs / page
    text = PAGES[page]()
    if path.exists() and path.read_text() == text:
        return False
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return True


if __name__ == "__main__":
    sys.exit(main())
