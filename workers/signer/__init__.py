"""The signer: the only process that holds secrets, and the only place they are used.

May import every room below. It derives a channel's keys (`channel_keys`, `lnd_keys`,
`extended_key`), keeps them sealed in the vault (`keyring`), judges each request by the
law's rules and signs (`signing`), and answers over HTTP (`server`). Tasks reach it through
`tasks.signer_client`. Begin with `signing.py`: it is the whole of what a signature goes through.
"""

from __future__ import annotations

from tasks.settings import Settings


def run(settings: Settings) -> None:
    """Serve the signer until a signal ends it; see `server.run`."""
    # Imported late: whoever needs a part of this room starts no server.
    from workers.signer import server

    server.run(settings)
