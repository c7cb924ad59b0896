"""The gateway: nodes' webhooks in, cases out, over HTTP.

Begin with `app` (what is served) and `door` (how one webhook becomes one commit). `payloads`,
`parts` and `fields` say what a node may send, `signatures` who it must be, `problems` how a
refusal looks. May import every room below; of the workers, only the command line imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.settings import Settings


def run(settings: Settings) -> None:
    """Serve until the process is told to stop. Raises SettingsError when something is missing."""
    # Here and not above: the command line reads the views without starting a server.
    from workers.gateway.app import serve

    serve(settings)
