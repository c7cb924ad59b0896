"""One channel's whole life, in which every step of every process is taken."""

from __future__ import annotations

from collections.abc import Callable

from contractcourt.channel import Direction
from tests.faults.ends import End, end_of
from tests.faults.parts import PartedCourt
from tests.scenarios.stack import StackCourt
from tests.tasks.mailbox import Mailbox
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

_EXPIRES_IN = 60
_MOST_BLOCKS = 40


def live(court: PartedCourt, sim: SimulatedChannel, when_closed: Callable[[], None]) -> End:
    """Opened, updated, force closed; a reorg; the peer claims one HTLC, we claim the other.

    The newest commitment is told while the signer is away, so that our point is asked for when
    the close is seen. `when_closed` is called once our commitment is mined.
    """
    with Mailbox("") as mailbox:
        # A node that listens: letters are really sent, and waited for.
        mailbox.secret = court.node(sim.node, sim.sweep_script, mailbox.url).secret
        _live(court, sim, when_closed)
    return end_of(court.client, str(sim.channel.channel_point))


def _live(court: PartedCourt, sim: SimulatedChannel, when_closed: Callable[[], None]) -> None:
    stack = StackCourt(court)  # type: ignore[arg-type]
    stack.begin(sim)
    stack.tell(*sim.whole_move(10_000_000))
    court.keep_down("signer")
    expiry = court.client.height() + _EXPIRES_IN
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, expiry)
    received = sim.htlc(2, Direction.RECEIVED, 30_000_000, expiry + 40)
    stack.tell(*sim.whole_move(0, offered, received))
    court.start_again("signer")
    court.wait_ready("signer")
    stack.tell_preimage(sim.preimage(2))
    stack.force_close()
    ours = sim.our_commitment_tx()
    # Whoever died has put it off, and a close that comes before it leaves it unsent.
    court.client.wait_until(lambda: stack.in_mempool(ours.txid()), "our commitment to be sent", 90)
    stack.mine()
    when_closed()
    stack.reorg(1, [ours])
    stack.mine(2)
    claim = Peer(sim).claim(2, 1, sim.preimage(1))
    stack.broadcast(claim)
    court.client.wait_until(lambda: bool(stack.told("htlc.fulfilled")), "the preimage to be told")
    stack.mine()
    left_out = False
    for _ in range(_MOST_BLOCKS):
        if not left_out and court.client.rpc("getrawmempool"):
            # A block without our sweep: the next round finds it open, and tends it.
            left_out = True
            court.client.mine(1, [])
            court.client.wait_quiet()
        stack.mine()
        if stack.state == "FULLY_RESOLVED":
            break
