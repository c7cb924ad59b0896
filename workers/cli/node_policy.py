"""`contractcourt node policy`: a node's deltas, depths and budgets, shown and changed."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
import typer

from contractcourt.codec import to_builtins
from contractcourt.errors import LawError
from contractcourt.policy import Policy
from tasks import policies
from workers.cli import tables
from workers.cli.access import database, find_node
from workers.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, NodeName
from workers.cli.waking import wake_workers

_NUMBER = re.compile(r"-?[0-9]{1,15}", re.ASCII)
#: As msgspec says it.
_OUT_OF_RANGE = re.compile(r"Expected `int` (.+) - at `\$\.(\w+)`")


def policy(
    name: NodeName,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=NUMBER",
            help="Change a field; may be repeated. docs/reference/configuration.md explains them.",
        ),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to the defaults first.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show a node's policy, or change it: for its open cases at once, and for those to come."""
    from workers.gateway.wakeup import WakeUp

    told: list[int] = []
    with database(data_dir) as db:
        node = db.run(lambda conn: find_node(conn, name))
        chosen = _changed(Policy() if reset else node.policy or Policy(), changes or [])
        if changes or reset:
            told = policies.change(db, name, chosen)
    woken = wake_workers(data_dir, WakeUp(channels=tuple(told))) if told else True
    if as_json:
        tables.write_json({"node": name, "policy": to_builtins(chosen), "told": len(told)})
        return
    defaults = Policy()
    tables.show(
        ("field", "value", "default"),
        ((f, getattr(chosen, f), getattr(defaults, f)) for f in Policy.__struct_fields__),
        empty="",
    )
    if changes or reset:
        print(f"told to {tables.counted(len(told), 'open channel')}; new ones begin with it")
    if not woken:
        print("Redis does not answer: the workers will find it at their next round")


def _changed(policy: Policy, changes: list[str]) -> Policy:
    facts: dict[str, Any] = dict(to_builtins(policy))
    for change in changes:
        field, equals, number = change.partition("=")
        if not equals or field not in facts or not _NUMBER.fullmatch(number):
            fields = ", ".join(Policy.__struct_fields__)
            raise typer.BadParameter(f"{change!r} is not FIELD=NUMBER with one of: {fields}")
        facts[field] = number
    try:
        facts = {field: int(number) for field, number in facts.items()}
        return msgspec.convert(facts, Policy)
    except (ValueError, LawError) as error:
        words = _OUT_OF_RANGE.sub(r"\2 must be \1", str(error))
        raise typer.BadParameter(words) from None
