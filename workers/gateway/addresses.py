"""What stands in a URL: the lasting name of a channel, and the page of a list."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from contractcourt.bitcoin.outpoint import OutPoint
from storage import channels
from storage.channels import ChannelRow
from storage.database import Connection
from workers.gateway.problems import Problem

#: A place in a list: answer only what follows it.
After = Annotated[int, Query(ge=0, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=1000)]
#: A node, or the operator, as webhooks are addressed.
EndpointName = Annotated[str, Query(pattern=r"^(@operator|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$")]
NodePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
NodeName = Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def channel_point(text: str) -> OutPoint:
    """The `{cp}` of a path. Raises Problem 422 when it is not written `txid:vout`."""
    try:
        return OutPoint.parse(text)
    except ValueError:
        raise Problem(
            "invalid-fields",
            "channel_point: must be written txid:vout, the txid in display order",
        ) from None


def unknown_channel(text: str) -> Problem:
    """404: nobody opened this channel here."""
    return Problem("unknown-channel", f"no channel {text} was opened here: send channel.opened")


def find_channel(conn: Connection, text: str) -> ChannelRow:
    """The channel of a path's `{cp}`. Raises Problem 422 or 404."""
    row = channels.find(conn, channel_point(text))
    if row is None:
        raise unknown_channel(text)
    return row
