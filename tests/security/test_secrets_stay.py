"""A whole court, its secrets known to us, refusals and crashes provoked: none of them got out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import httpx2
import psycopg
import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Direction
from tests.security import court_places as places
from workers.simulation import fee_wallet
from workers.simulation.channel import SimulatedChannel
from workers.simulation.client import CourtClient, NodeAccount, Refused
from workers.simulation.court import RunningCourt, running_court
from workers.simulation.feed import opened_data, update_data

_WORKERS = {"worker", "urgent", "urgent-sweeps"}
#: Who is told what by its environment. Whoever is not named here knows none of it.
MAY_KNOW = {
    "postgres_password": {"archivist"},
    "redis_password": {"gateway", *_WORKERS, "archivist", "beat", "flower", "watcher"},
    "bitcoind_password": {"gateway", "watcher", *_WORKERS, "devnet"},
    "operator_token": {"gateway"},
    "signer_token": {"signer", "gateway", *_WORKERS},
    "webhook_key": {"gateway", *_WORKERS},
    "watcher_database_password": {"watcher"},
    "gateway_database_password": {"gateway"},
    "worker_database_password": _WORKERS,
    "signer_database_password": {"signer"},
}
#: Where the law keeps what it replays, before anything is public (docs/threat_model.md).
HOLD_PREIMAGES = {"docket", "cases", "told_preimages"}
HOLD_PEERS_SECRETS = {"docket", "cases"}


def forms(secret: str) -> set[bytes]:
    """How a secret could be written: as it is, in hex, in base64, as raw bytes."""
    texts = {secret.encode()}
    try:
        raw = bytes.fromhex(secret)
    except ValueError:
        raw = secret.encode()
    return texts | {raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"=")}


def holders(secret: str, contents: Mapping[str, bytes]) -> set[str]:
    """The places where it stands in any form."""
    sought = forms(secret)
    return {where for where, told in contents.items() if any(form in told for form in sought)}


def unwrapped(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    return {where: places.unwrapped(told) for where, told in contents.items()}


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_secrets_stay_where_they_belong(tmp_path: Path) -> None:
    with running_court(tmp_path / "court") as running:
        story = Story(running)
        story.open()
        story.learn_a_preimage()
        before = unwrapped(places.tables(story.client.endpoints["postgres"]))
        # The search sees through every wrapping: what must be there is found.
        assert holders(story.preimage, before) == HOLD_PREIMAGES
        assert holders(story.peers_secret, before) == HOLD_PEERS_SECRETS
        story.provoke()
        story.force_close()

        secrets = story.secrets()
        tables = unwrapped(places.tables(story.client.endpoints["postgres"]))
        for name, secret in secrets.items():
            assert holders(secret, tables) == set(), name

        elsewhere = unwrapped(story.elsewhere())
        assert b"contractcourt.arbitrate" in elsewhere["flower tasks"]
        assert b"contractcourt.arbitrate" in elsewhere["redis, written"]
        assert b"Traceback" in elsewhere["gateway.log"] + elsewhere["worker.log"]
        held_by_the_law = {"preimage": story.preimage, "peer's secret": story.peers_secret}
        for name, secret in (secrets | held_by_the_law).items():
            assert holders(secret, elsewhere) == set(), name

        story.look_at_the_processes()


class Story:
    """A channel with a received HTLC that is claimed by its preimage."""

    def __init__(self, running: RunningCourt) -> None:
        self.running = running
        self.client: CourtClient = running.client
        self.sim = SimulatedChannel("secrets stay", ANCHORS_ZERO_FEE_HTLC)
        self.node: NodeAccount = running.node(self.sim.node, bytes(self.sim.sweep_script))
        self.preimage = str(self.sim.preimage(2))
        self.peers_secret = str(self.sim.theirs.revoke(0))

    def open(self) -> None:
        """Fund it, hand over its keys, tell of it and of a move with an HTLC."""
        sim, client = self.sim, self.client
        script = sim.funding_script_pubkey.hex()
        sim.funded(OutPoint.parse(client.rpc("devnet_fund", script, sim.capacity_sat)))
        client.mine(1)
        client.import_keys(sim.key_document())
        client.webhook(self.node, "channel.opened", opened_data(sim.channel))
        htlc = sim.htlc(2, Direction.RECEIVED, 30_000_000, client.height() + 60)
        steps = [sim.first_update(), *sim.whole_move(0, htlc)]
        data = {"channel_point": self.point, "updates": [update_data(step) for step in steps]}
        client.webhook(self.node, "channel.updated", data)

    @property
    def point(self) -> str:
        return str(self.sim.channel.channel_point)

    def learn_a_preimage(self) -> None:
        """The node knows what claims the HTLC; nobody else does yet."""
        htlc = self.sim.history[-1].htlcs[0]
        data = {"payment_hash": str(htlc.payment_hash), "preimage": self.preimage}
        self.client.webhook(self.node, "preimage.learned", data)
        self.client.wait_quiet(300)

    def provoke(self) -> None:
        """Refusals that had a secret before them, and connections that break under work."""
        client, document = self.client, self.sim.key_document()
        wrong = {"payment_hash": "11" * 32, "preimage": self.preimage}
        misnamed = {**wrong, self.preimage: self.preimage}
        for data in (wrong, misnamed, {"preimage": [self.preimage]}):
            with pytest.raises(Refused) as refused:
                client.webhook(self.node, "preimage.learned", data)
            assert self.preimage not in json.dumps(refused.value.problem)
        forger = NodeAccount(self.node.name, "whsec_" + base64.b64encode(bytes(24)).decode())
        with pytest.raises(Refused):
            client.webhook(forger, "preimage.learned", wrong)
        other = {**document, "funding_key": document["payment_key"]}
        seed = document["commitment_seed"]
        for bad in (other, {**document, seed: seed}, {**document, "funding_key": seed[:-2]}):
            with pytest.raises(Refused):
                client.import_keys(bad)
        self._ask_the_signer(json.dumps({"preimage": self.preimage, "tx": seed}))
        self._ask_the_signer(f"{{'preimage': {self.preimage}")
        self._break_connections()

    def _ask_the_signer(self, body: str) -> None:
        token = {"Authorization": f"Bearer {self.client.endpoints['signer_token']}"}
        url = f"{self.client.endpoints['signer']}/v1/sign"
        answer = httpx2.post(url, content=body, headers=token, timeout=60)
        assert answer.status_code == 400
        assert self.preimage not in answer.text

    def _break_connections(self) -> None:
        """Until somebody had to write a traceback."""
        data = {"payment_hash": "00" * 32, "preimage": self.preimage}

        def traced() -> bool:
            with psycopg.connect(self.client.endpoints["postgres"], autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
            with pytest.raises(Refused):
                self.client.webhook(self.node, "preimage.learned", data)
            logs = places.log_files(self.running.data_dir)
            return b"Traceback" in logs["gateway.log"] + logs["worker.log"]

        self.client.wait_until(traced, "a traceback", 300)

    def force_close(self) -> None:
        """To the claim of the HTLC and the end."""
        self.client.force_close(self.point, "the peer is gone")
        for _ in range(40):
            self.client.mine(1)
            self.client.wait_quiet(300)
            if self.client.channel(self.point)["state"] == "FULLY_RESOLVED":
                break
        stages = {c["kind"]: c["stage"] for c in self.client.channel(self.point)["contracts"]}
        assert stages["received_htlc"] == "resolved"

    def secrets(self) -> dict[str, str]:
        """Everything that opens, signs or speaks for somebody, by name."""
        folder = self.running.data_dir
        sealed = (folder / "seal.key").read_bytes()
        keys = {n: v for n, v in self.sim.key_document().items() if n != "channel_point"}
        descriptor = fee_wallet.descriptor(self.node.name)
        return {
            **json.loads((folder / "secrets.json").read_bytes()),
            **keys,
            "seal key": sealed.decode().strip() if sealed.isascii() else sealed.hex(),
            "webhook secret": self.node.secret.removeprefix("whsec_"),
            "fee wallet key": descriptor.removeprefix("wpkh(").partition("/")[0],
            "our newest commitment's secret": str(self.sim.ours.revoke(self.sim.number)),
        }

    def elsewhere(self) -> dict[str, bytes]:
        """Logs, Redis, Flower, command lines."""
        folder, endpoints = self.running.data_dir, self.client.endpoints
        running = places.processes(self._up_pid())
        return {
            **places.log_files(folder),
            **places.redis_contents(folder, endpoints["redis"]),
            **places.flower_answers(endpoints["flower"]),
            "command lines": b"\n".join(command for _, command, _ in running),
        }

    def look_at_the_processes(self) -> None:
        """Each is told what it needs, and no more."""
        secrets, seen = self.secrets(), set()
        for part, _, environment in places.processes(self._up_pid()):
            seen.add(part)
            told = {"environment": "\n".join(environment.values()).encode()}
            known = {name for name, secret in secrets.items() if holders(secret, told)}
            allowed = {name for name, parts in MAY_KNOW.items() if part in parts}
            assert known <= allowed, part
            assert ("CONTRACTCOURT_SEAL_KEY_FILE" in environment) == (part == "signer"), part
            if part in ("beat", "flower", "devnet", "redis-server"):
                assert "DATABASE_URL" not in environment, part
        assert seen >= set().union(*MAY_KNOW.values())

    def _up_pid(self) -> int:
        up = self.running._up
        assert up is not None
        return up.pid
