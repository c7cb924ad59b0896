"""Alice: a Lightning node small enough to read, for the tutorial's regtest court.

It plays both ends of a channel with real keys, and tells the court what a real node would tell it,
by signed webhooks. Nothing of it belongs into a real court.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import STATIC_REMOTEKEY, Direction
from workers.simulation.channel import SimulatedChannel
from workers.simulation.client import CourtClient, NodeAccount
from workers.simulation.feed import opened_data, update_data

NAME = "alice"
FUNDING_SAT = 1_000_000
KEYS = Path("alice-channel.json")


def channel() -> SimulatedChannel:
    """Alice's channel, the same at every call; it knows its funding once `fund` has run."""
    simulated = SimulatedChannel(NAME, STATIC_REMOTEKEY, FUNDING_SAT, node=NAME)
    if KEYS.exists():
        simulated.funded(OutPoint.parse(json.loads(KEYS.read_text())["channel_point"]))
    return simulated


def script(_: CourtClient, __: argparse.Namespace) -> None:
    """Where Alice's money shall go."""
    print(channel().sweep_script)


def fund(court: CourtClient, _: argparse.Namespace) -> None:
    """Pay the funding output, and write the channel's secrets to a file for the signer."""
    simulated = channel()
    output = {"script_hex": simulated.funding_script_pubkey.hex(), "amount_sat": FUNDING_SAT}
    txid = court.rpc("devnet_spend", [output])["txid"]
    court.mine(1)
    simulated.funded(OutPoint.parse(f"{txid}:0"))
    KEYS.write_text(json.dumps(simulated.key_document(), indent=1))
    print(simulated.channel.channel_point)


def opened(court: CourtClient, given: argparse.Namespace) -> None:
    """Tell the court that the channel is open, with the first commitment of both sides."""
    simulated = channel()
    _tell(court, given, "channel.opened", opened_data(simulated.channel))
    _update(court, given, simulated, [update_data(simulated.first_update())])


def pay(court: CourtClient, given: argparse.Namespace) -> None:
    """Offer the peer a payment, and tell the court the new commitments and the revocation."""
    simulated = channel()
    payment = simulated.htlc(0, Direction.OFFERED, 50_000_000, court.height() + 20)
    steps = simulated.whole_move(0, payment)
    _update(court, given, simulated, [update_data(step) for step in steps])


def cheat(court: CourtClient, _: argparse.Namespace) -> None:
    """The peer publishes the commitment that the payment revoked."""
    print(court.rpc("sendrawtransaction", channel().their_commitment_tx(0).serialize().hex()))


def mine(court: CourtClient, given: argparse.Namespace) -> None:
    """Mine blocks, one after the other, and let the court look at each."""
    for _ in range(given.blocks):
        court.mine(1)
        court.wait_quiet(300)
    print(f"height {court.height()}")


def _update(
    court: CourtClient,
    given: argparse.Namespace,
    simulated: SimulatedChannel,
    steps: list[dict[str, Any]],
) -> None:
    data = {"channel_point": str(simulated.channel.channel_point), "updates": steps}
    _tell(court, given, "channel.updated", data)


def _tell(
    court: CourtClient, given: argparse.Namespace, event_type: str, data: dict[str, Any]
) -> None:
    answer = court.webhook(NodeAccount(NAME, given.secret), event_type, data)
    print(f"{event_type}: {json.dumps(answer)}")


def main() -> None:
    """One step of the tutorial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("court"))
    steps = parser.add_subparsers(required=True)
    for step in (script, fund, opened, pay, cheat, mine):
        one = steps.add_parser(step.__name__, help=step.__doc__)
        one.set_defaults(step=step)
        if step in (opened, pay):
            one.add_argument("secret", help="what `contractcourt node add` printed")
        if step is mine:
            one.add_argument("blocks", type=int)
    given = parser.parse_args()
    court = CourtClient(json.loads((given.data_dir / "endpoints.json").read_text()))
    try:
        given.step(court, given)
    finally:
        court.close()


if __name__ == "__main__":
    main()
