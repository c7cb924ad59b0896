"""`explanation/state-machine.md`: the arbitrator's states, drawn from the law itself.

The law is a pure function, so the picture is not drawn but asked for: every state, with every
mix of facts that it can hold, meets everything that moves it, and what comes of it is written
down. A transition that the law does not make can't stand on the page, and none can be missing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial

import msgspec

from contractcourt.arbitrator import machine
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.case import CLOSED_STATES, Case, ForceClose, State
from contractcourt.contract import ContractStage
from contractcourt.events import ForceCloseRequested, PublishOutcome
from contractcourt.units import Txid
from docs.generate import example
from docs.generate.markdown import code, fenced, page, table

Stimulus = Callable[[Hearing], None]
#: Two states, and what leads from the first to the second.
Edge = tuple[tuple[State, State], list[str]]

_REORG = "a reorg takes"
_REOPENED = f"{_REORG} the close back"
_UNRESOLVED = f"{_REORG} a contract's spend back"
_DECIDED_ANEW = "a splice moves the funding, or the node tells a newer commitment"
#: What goes back begins with one of these.
_BACK = (_REORG, _DECIDED_ANEW)
_ANSWERED = "the node says of our commitment: "
_REQUESTED = "force close requested"
_INTRODUCTION = """\
Each channel has one case, and each case is in one of six states, which have lnd's names. What
moves it is a trigger: what the chain shows (`chain`), a kind of close that is buried deep enough,
the node's answer to our commitment, a request to close, a splice, or a reorg. The law decides it
in one pure function (`contractcourt/arbitrator/machine.py`); this page is what that function
answered when every state met every trigger. What is not drawn leaves the state as it is."""


class Contracts(Enum):
    """What is left of the confirmed commitment."""

    NONE = "no contract"
    OPEN = "a contract is open"
    DONE = "every contract is resolved"


class Ours(Enum):
    """How far our own force close is."""

    NOT_ASKED = "we asked for no close"
    NOT_OUT = "our commitment is not out"
    OUT = "our commitment is out"


class Due(Enum):
    """Whether an HTLC takes the channel on chain."""

    NO = "no HTLC is due"
    YES = "an HTLC is due"


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides, besides state and trigger."""

    due: Due
    contracts: Contracts
    ours: Ours

    def words(self) -> tuple[str, ...]:
        """Each fact as the page says it."""
        return self.due.value, self.contracts.value, self.ours.value


_STAGES: dict[Contracts, tuple[ContractStage, ...]] = {
    Contracts.NONE: (),
    Contracts.OPEN: (ContractStage.IMMATURE,),
    Contracts.DONE: (ContractStage.RESOLVED,),
}
#: The contracts that a case can have in a state; in any other it has none.
_CONTRACTS = {
    State.CONTRACT_CLOSED: (Contracts.NONE, Contracts.OPEN),
    State.WAITING_FULL_RESOLUTION: (Contracts.OPEN, Contracts.DONE),
    # An open one only for the moment in which a reorg has taken its spend back.
    State.FULLY_RESOLVED: tuple(Contracts),
}
#: How far our own force close can be in a state; in any other all is possible.
_OURS = {
    State.DEFAULT: (Ours.NOT_ASKED,),
    State.BROADCAST_COMMIT: (Ours.NOT_OUT,),
    State.COMMITMENT_BROADCASTED: (Ours.OUT,),
}


@dataclass(frozen=True, slots=True)
class Transition:
    """One step that the law took."""

    before: State
    stimulus: str
    facts: Facts
    after: State


def write() -> str:
    """The page."""
    taken = list(transitions())
    grouped = _grouped(taken)
    rows = ((code(before), "; ".join(causes), code(after)) for (before, after), causes in grouped)
    kinds = ((code(kind), code(trigger.value)) for kind, trigger in machine.TRIGGER_OF.items())
    return page(
        "The state machine of a case",
        "`contractcourt/arbitrator/machine.py`",
        _INTRODUCTION,
        fenced("mermaid", _drawn(grouped, back=False)),
        "Only a reorg, when it takes from the chain what had moved the case, a splice, and a newer "
        "commitment of ours go back:",
        fenced("mermaid", _drawn(grouped, back=True)),
        table(("from", "when", "to"), rows),
        "## Which trigger a close is",
        table(("the funding output was spent by", "trigger"), kinds),
        f"`CloseKind` in `contractcourt/effects.py` says what each means. The channel counts as "
        f"closed in {', '.join(code(s) for s in State if s in CLOSED_STATES)}.",
    )


def transitions() -> Iterator[Transition]:
    """Everything that changes the state of a case, asked of the law."""
    for state in State:
        for facts in _possible(state):
            for name, stimulus in _stimuli():
                hearing = Hearing(_case(state, facts))
                stimulus(hearing)
                path = hearing.case.path
                if len(path) > 1:
                    yield Transition(state, name, facts, path[1])


def _stimuli() -> Iterator[tuple[str, Stimulus]]:
    for trigger in machine.Trigger:
        yield code(trigger.value), partial(machine.run, trigger=trigger)
    asked = ForceCloseRequested(requested_at="", requested_by="operator", reason="")
    yield _REQUESTED, partial(machine.request, asked=asked)
    for outcome in PublishOutcome:
        yield (
            f"{_ANSWERED}{code(outcome.value)}",
            partial(machine.hear_outcome, outcome=outcome, reason=""),
        )
    yield _REOPENED, machine.reopen
    yield _UNRESOLVED, machine.unresolve_if_open
    yield _DECIDED_ANEW, _newest_is_another


def _newest_is_another(hearing: Hearing) -> None:
    """What was decided is not our newest commitment on the present funding."""
    decided, other = hearing.case.force_close, Txid(bytes(32))
    if decided is not None and not hearing.case.closed:
        hearing.change(force_close=msgspec.structs.replace(decided, txid=other))
        machine.follow_newest(hearing)


def _possible(state: State) -> Iterator[Facts]:
    """The facts that a case can hold in this state."""
    contracts = _CONTRACTS.get(state, (Contracts.NONE,))
    for facts in itertools.product(Due, contracts, _OURS.get(state, tuple(Ours))):
        yield Facts(*facts)


def _case(state: State, facts: Facts) -> Case:
    commitment = example.commitment(with_htlc=facts.due is Due.YES)
    decided = None
    if facts.ours is not Ours.NOT_ASKED:
        outcome = PublishOutcome.ACCEPTED if facts.ours is Ours.OUT else None
        decided = ForceClose("", "operator", "", commitment.number, commitment.txid, outcome)
    return Case(
        example.channel(),
        state=state,
        path=(state,),
        best_height=example.HEIGHT,
        local_commitment=commitment,
        force_close=decided,
        contracts=tuple(example.contract(stage) for stage in _STAGES[facts.contracts]),
    )


def _grouped(
    taken: Iterable[Transition],
) -> list[Edge]:
    """For each pair of states the causes, each with the facts that it depends on."""
    edges: dict[tuple[State, State], dict[str, list[Facts]]] = {}
    for step in taken:
        causes = edges.setdefault((step.before, step.after), {})
        causes.setdefault(step.stimulus, []).append(step.facts)
    return [
        (pair, _merged({cause: _condition(pair[0], seen) for cause, seen in causes.items()}))
        for pair, causes in edges.items()
    ]


def _condition(state: State, seen: list[Facts]) -> str:
    """The facts that are the same whenever it happens, and are not always so in this state."""
    possible = [set(values) for values in zip(*(f.words() for f in _possible(state)), strict=True)]
    when = [set(values) for values in zip(*(facts.words() for facts in seen), strict=True)]
    return ", ".join(
        next(iter(values))
        for values, others in zip(when, possible, strict=True)
        if len(values) == 1 and len(others) > 1
    )


def _merged(conditions: dict[str, str]) -> list[str]:
    """Triggers with the same condition in one line; all six are `any trigger`."""
    by_condition: dict[str, list[str]] = {}
    for cause, condition in conditions.items():
        by_condition.setdefault(condition, []).append(cause)
    triggers = {code(trigger.value) for trigger in machine.Trigger}
    lines = []
    for condition, causes in by_condition.items():
        named = [cause for cause in causes if not cause.startswith(_ANSWERED)]
        if triggers <= set(causes):
            named = ["any trigger", *(cause for cause in named if cause not in triggers)]
        answers = [c.removeprefix(_ANSWERED) for c in causes if c.startswith(_ANSWERED)]
        if answers:
            named.append(_ANSWERED + ", ".join(answers))
        lines.append(f"{', '.join(named)}{f' ({condition})' if condition else ''}")
    return lines


def _drawn(grouped: list[Edge], *, back: bool) -> str:
    """The way forward, or the ways back, which only a reorg or a splice takes."""
    ends = [] if back else [f"[*] --> {State.DEFAULT}", f"{State.FULLY_RESOLVED} --> [*]"]
    lines = [
        f"{before} --> {after}: {_label(causes)}"
        for (before, after), causes in grouped
        if all(cause.startswith(_BACK) for cause in causes) is back
    ]
    return "\n    ".join(["stateDiagram-v2", *ends[:1], *lines, *ends[1:]])


def _label(causes: list[str]) -> str:
    """Without the signs that Mermaid reads as its own."""
    return "<br/>".join(causes).replace("`", "").replace(": ", " ")
