"""Plays every act at once on one chain, before one court, and says how each channel ended."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from rich.console import Console

from contractcourt.bitcoin.outpoint import OutPoint
from workers.demo import acts, recorded
from workers.demo.acts import ACTS, Player
from workers.demo.board import AS_IT_SHOULD, SUMMARY_WIDTH, Board, Line
from workers.simulation.channel import SimulatedChannel
from workers.simulation.client import CourtClient
from workers.simulation.court import RunningCourt, running_court
from workers.simulation.feed import opened_data

#: Blocks mined one by one while something still moves; our longest delay is far below.
_MOST_BLOCKS = 260
_CLOSE_DEPTH = 3

#: How the summary names our transactions; a commitment of ours is the close itself.
_WORDS = {"sweep": "sweep", "htlc_transaction": "htlc ", "bump": "bump "}
#: What the mempool asks for in the scene of the fee spike, in satoshi for 1000 virtual bytes.
_SPIKE = (10_000, 40_000)


def run() -> int:
    """Tell the story. 0 only if every channel ended as it should."""
    console = Console()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="contractcourt-demo-") as folder:
        console.print("starting Postgres, Redis, a regtest chain and the court ...")
        with running_court(Path(folder) / "court") as court, Board(console) as board:
            right = _Stage(court, board).play()
    Console(width=max(console.width, SUMMARY_WIDTH)).print(board.summary())
    console.print(
        f"{sum(line.verdict == 'as it should' for line in board.lines)} of {len(board.lines)} "
        f"channels ended as they should, in {time.monotonic() - began:.0f} s"
    )
    if right:
        console.print("next: .venv/bin/contractcourt up --data-dir ./court")
    return 0 if right else 1


class _Stage:
    def __init__(self, court: RunningCourt, board: Board) -> None:
        self._court = court
        self._board = board
        self._players: list[Player] = []

    @property
    def _client(self) -> CourtClient:
        return self._court.client

    def play(self) -> bool:
        """All scenes in order; True when every channel ended as it should."""
        board = self._board
        board.scene("a real channel, recorded from LDK: its blocks begin the chain")
        recording = recorded.load()
        recorded.begin(self._court, recording)
        board.lines.append(Line("recorded from LDK", recording.channel_type))
        board.scene(f"{len(ACTS)} channels are opened")
        self._open()
        board.scene("they close, each in its own way")
        recorded.close(self._court, recording)
        self._close()
        board.scene("kill -9 for the worker, in the middle of it all")
        self._court.kill("worker")
        self._client.mine(_CLOSE_DEPTH - 1)
        self._rest(recording)
        board.scene("a reorg of three blocks brings another close")
        self._reorg()
        self._rest(recording)
        board.scene("the peers go on: a preimage is shown on chain")
        self._later()
        board.scene("fees rise, and rise again, over a commitment that pays 1 sat/vB")
        self._spike()
        board.scene("delays run out, sweeps are published and buried")
        self._to_the_end(recording)
        return self._judge(recording)

    def _open(self) -> None:
        for number, act in enumerate(ACTS):
            sim = SimulatedChannel(
                f"demo {number}", act.channel_type, feerate_per_kw=act.feerate_per_kw
            )
            script = sim.funding_script_pubkey.hex()
            outpoint = self._client.rpc("devnet_fund", script, sim.capacity_sat)
            node = self._court.node(sim.node, sim.sweep_script)
            player = Player(act, sim.funded(OutPoint.parse(outpoint)), self._client, node)
            self._players.append(player)
            self._board.lines.append(Line(act.title, act.channel_type))
        self._client.mine(1)
        for player in self._players:
            self._client.import_keys(player.sim.key_document())
            self._client.webhook(player.node, "channel.opened", opened_data(player.sim.channel))
            player.tell(player.sim.first_update())

    def _close(self) -> None:
        for player in self._players:
            player.act.close(player)
        self._client.wait_quiet()
        forced = [tx for p in self._players if p.act.mined for tx in p.act.mined(p)]
        self._client.rpc("devnet_mine", 1, forced, True)

    def _reorg(self) -> None:
        """The last blocks are replaced; all their transactions come back, save one close."""
        replaced = self._player(acts.REPLACED)
        old = self._client.channel(replaced.channel_point)["closing_txid"]
        mined = self._transactions_of_last_blocks(_CLOSE_DEPTH)
        kept = [raw for txid, raw in mined if txid != old]
        kept.append(replaced.sim.cooperative_tx().serialize().hex())
        self._client.rpc("devnet_reorg", _CLOSE_DEPTH, _CLOSE_DEPTH + 1, False, kept)
        acts.close_spliced(self._player(acts.SPLICED))

    def _later(self) -> None:
        for player in self._players:
            if player.act.later is not None:
                player.act.later(player)
        self._client.mine(1)
        self._client.wait_quiet()

    def _spike(self) -> None:
        """Each rise throws what is out of the mempool, and the court bids anew."""
        waiting = self._player(acts.SPIKE)
        self._client.force_close(waiting.channel_point, "in a hurry")
        self._client.wait_quiet()
        for sat_per_kvb in _SPIKE:
            self._client.rpc("devnet_set_mempool_floor", sat_per_kvb)
            self._client.rpc("devnet_clear_mempool")
            self._client.mine(1)
            self._client.wait_quiet()
        self._client.mine(1)
        self._client.wait_quiet()
        self._client.rpc("devnet_set_mempool_floor", None)
        offers = self._offers(waiting)
        waiting.note = f"its child was outbid: {' to '.join(map(str, offers))} sat/kw"

    def _offers(self, player: Player) -> list[int]:
        """What the children of its commitment offered, in order."""
        sent = self._client.channel(player.channel_point)["broadcasts"]
        return [b["feerate_per_kw"] for b in sent if b["purpose"] == "bump"]

    def _transactions_of_last_blocks(self, depth: int) -> list[tuple[str, str]]:
        tip = self._client.height()
        found: list[tuple[str, str]] = []
        for height in range(tip - depth + 1, tip + 1):
            found += self._client.transactions_at(height)
        return found

    def _player(self, title: str) -> Player:
        return next(player for player in self._players if player.act.title == title)

    def _line(self, title: str) -> Line:
        return next(line for line in self._board.lines if line.title == title)

    def _rest(self, recording: recorded.Recorded) -> None:
        self._client.wait_quiet(60)
        self._look(recording)

    def _to_the_end(self, recording: recorded.Recorded) -> None:
        last = self._client.height() + _MOST_BLOCKS
        while self._client.height() < last:
            self._rest(recording)
            if all(line.state == "FULLY_RESOLVED" for line in self._board.lines):
                return
            self._client.mine(self._idle_blocks())

    def _idle_blocks(self) -> int:
        """One block while something waits to be mined, else as many as nothing happens in."""
        if self._client.rpc("getrawmempool"):
            return 1
        due = self._client.next_deadline()
        return 1 if due is None else max(1, due - self._client.height())

    def _look(self, recording: recorded.Recorded) -> None:
        points = [recording.channel_point, *(p.channel_point for p in self._players)]
        notes = ["our sweep against LDK's", *(player.note for player in self._players)]
        for line, point, note in zip(self._board.lines, points, notes, strict=True):
            case = self._client.channel(point)
            line.state, line.kind = case["state"], case["close_kind"] or ""
            line.closing_txid = case["closing_txid"] or ""
            line.ours = [
                f"{_WORDS[b['purpose']]} {b['txid']}"
                for b in case["broadcasts"]
                if b["purpose"] in _WORDS and b["state"] == "confirmed"
            ]
            line.note = note
        self._board.refresh()

    def _judge(self, recording: recorded.Recorded) -> bool:
        expected = [recording.kind, *(player.act.kind for player in self._players)]
        for line, kind in zip(self._board.lines, expected, strict=True):
            right = line.state == "FULLY_RESOLVED" and line.kind == kind
            line.verdict = AS_IT_SHOULD if right else f"expected {kind}, FULLY_RESOLVED"
        offers = self._offers(self._player(acts.SPIKE))
        if len(offers) < len(_SPIKE) or offers != sorted(set(offers)):
            self._line(acts.SPIKE).verdict = f"expected rising offers, found {offers}"
        problem = recorded.compare(self._court, recording)
        if problem:
            self._board.lines[0].verdict = problem
        return all(line.verdict == AS_IT_SHOULD for line in self._board.lines)
