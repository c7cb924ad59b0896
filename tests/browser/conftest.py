"""One court for all walks, a node that refuses what it is told, and one browser a test."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import ChannelUpdate
from tests.browser.browser import Browser, browser
from workers.simulation.channel import SimulatedChannel
from workers.simulation.client import CourtClient
from workers.simulation.court import RunningCourt, running_court
from workers.simulation.feed import opened_data, update_data

#: Refused so often, a letter is dead.
_REFUSALS = "2"


@dataclass
class StubbornNode:
    """A node's own webhook endpoint: it refuses everything until it is told to take it."""

    refuses: bool = True
    taken: list[str] = field(default_factory=list)

    def serve(self) -> Generator[str, None, None]:
        """Its URL, while it is asked for."""
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                if not node.refuses:
                    node.taken.append(self.headers["webhook-id"])
                self.send_response(422 if node.refuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: the test says what it saw."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hooks"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@dataclass
class Court:
    """A running court with a few channels, and what the tests do to them."""

    running: RunningCourt
    stubborn: StubbornNode

    @property
    def client(self) -> CourtClient:
        """The court from outside."""
        return self.running.client

    def open(self, sim: SimulatedChannel) -> str:
        """Fund a channel, tell the court of it; its channel point."""
        outpoint = self.client.rpc("devnet_fund", sim.funding_script_pubkey.hex(), sim.capacity_sat)
        sim.funded(OutPoint.parse(outpoint))
        self.client.mine(1)
        self.client.import_keys(sim.key_document())
        node = self.running.node(sim.node, sim.sweep_script)
        self.client.webhook(node, "channel.opened", opened_data(sim.channel))
        self.tell(sim, sim.first_update())
        return str(outpoint)

    def tell(self, sim: SimulatedChannel, *updates: ChannelUpdate) -> None:
        """The node tells these steps in one webhook."""
        steps = [update_data(update) for update in updates]
        data = {"channel_point": str(sim.funding_outpoint), "updates": steps}
        node = self.running.node(sim.node, sim.sweep_script)
        self.client.webhook(node, "channel.updated", data)


@pytest.fixture(scope="session")
def court() -> Iterator[Court]:
    """Two nodes: `alice`, and `bob`, who takes no webhook."""
    stubborn = StubbornNode()
    # A folder of its own: pytest's is closed anew to Postgres's account by every other pytest.
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="court-") as folder:
        patch.setenv("CONTRACTCOURT_WEBHOOK_REFUSALS", _REFUSALS)
        serving = stubborn.serve()
        url = next(serving)
        with running_court(Path(folder) / "court", workers=1) as running:
            for name, hook in (("alice", None), ("bob", url)):
                running.node(name, SimulatedChannel(name, node=name).sweep_script, hook)
            yield Court(running, stubborn)
        serving.close()


@pytest.fixture
def window(court: Court) -> Iterator[Browser]:
    """A browser on the court's gateway."""
    with browser(court.client.endpoints["gateway"]) as window:
        yield window
