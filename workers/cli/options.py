"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import Script
from tasks.endpoints_file import DEFAULT_DATA_DIR
from workers.cli.completion import complete_channel_point, complete_node

__all__ = [
    "DEFAULT_DATA_DIR",
    "LARGEST",
    "AsJson",
    "ChannelPoint",
    "DataDir",
    "MaybeChannelPoint",
    "NodeName",
    "SweepScripts",
    "channel_point_of",
    "outpoint_of",
]


#: Postgres has no larger whole number, for an id or a count.
LARGEST = 2**63 - 1


def channel_point_of(text: str) -> OutPoint:
    """Read `TXID:VOUT` of a command line; a wrong one ends the command with exit code 2."""
    try:
        return OutPoint.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a channel point: {error}") from None


def outpoint_of(text: str) -> OutPoint:
    """Read an output's `TXID:VOUT`; a wrong one ends the command with exit code 2."""
    try:
        return OutPoint.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an outpoint: {error}") from None


def _script(text: str) -> Script:
    try:
        return Script.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a script in hex: {error}") from None


DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="CONTRACTCOURT_DATA_DIR",
        file_okay=False,
        readable=False,  # whoever opens something there finds out, and says it better
        help="Folder of `contractcourt up`; its endpoints.json gives what no variable gives.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for machines.")]
ChannelPoint = Annotated[
    OutPoint,
    typer.Argument(
        metavar="CP",
        parser=channel_point_of,
        autocompletion=complete_channel_point,
        help="The channel point, TXID:VOUT.",
    ),
]
NodeName = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=complete_node, help="A registered node.")
]
MaybeChannelPoint = Annotated[
    OutPoint | None,
    typer.Argument(
        metavar="[CP]",
        parser=channel_point_of,
        autocompletion=complete_channel_point,
        help="The channel point, TXID:VOUT.",
    ),
]
SweepScripts = Annotated[
    list[Script],
    typer.Option(
        "--sweep-script",
        metavar="HEX",
        parser=_script,
        help="A scriptPubKey that the node's money may be swept to; may be repeated.",
    ),
]
