"""What every resolver asks for in the end: its output swept, by when, and for how much at most."""

from __future__ import annotations

from contractcourt.arbitrator import stakes
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.contract import Contract
from contractcourt.effects import SweepOutput
from contractcourt.units import Secret


def sweep(
    hearing: Hearing,
    contract: Contract,
    *,
    preimage: Secret | None = None,
    per_commitment_secret: Secret | None = None,
) -> None:
    """Want this output spent to the node's own script."""
    case = hearing.case
    hearing.want(
        SweepOutput(
            contract,
            case.channel.sweep_script,
            preimage=preimage,
            per_commitment_secret=per_commitment_secret,
            deadline=stakes.deadline(case, contract),
            budget_sat=stakes.budget_sat(case, contract),
        )
    )
