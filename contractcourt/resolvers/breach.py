"""Justice: every output of a revoked commitment by its revocation key (P1 to P8).

The outputs of one commitment go in one transaction while nobody contests them; the sweeper takes
them apart as soon as one is. What moves to the second level is punished there.
"""

from __future__ import annotations

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bolt3 import secrets
from contractcourt.contract import Contract
from contractcourt.resolvers.sweeping import sweep


def act(hearing: Hearing, contract: Contract) -> bool:
    """Take it now; True when that was asked for. Without the secret this alarms: no silence."""
    number = contract.commitment_number
    secret = None
    if number is not None:
        index = secrets.secret_index(number)
        secret = secrets.lookup(hearing.case.revocation_secrets, index)
    if secret is None or not contract.can_be_rebuilt:
        missing = "revocation secret" if secret is None else "HTLC"
        hearing.alarm(
            AlarmKind.BREACH_UNPUNISHED,
            f"the {missing} of {contract.outpoint} ({contract.value_sat} sat) is not known: "
            "it can't be punished by the court",
        )
        return False
    sweep(hearing, contract, per_commitment_secret=secret)
    return True
