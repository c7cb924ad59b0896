"""A network of channels with real keys, open before a court, and the transactions that close them.

The rows are made by the code that makes them at the door (`open_case`, `advance`,
`carrying_out`), in chunks instead of one webhook at a time; only the receipts of the webhooks are
left out. Everything follows from a channel's number, so two runs close the same network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing import get_context
from pathlib import Path

from bench import lnd_node
from contractcourt.advance import open_case
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import (
    ANCHORS_ZERO_FEE_HTLC,
    STATIC_REMOTEKEY,
    Direction,
    Htlc,
    KeyRef,
)
from contractcourt.events import ChannelOpened, ChannelUpdated
from contractcourt.units import Txid
from storage import cases, channels, docket, nodes
from storage.database import Connection, Database
from storage.docket import NewEntry
from storage.seal import Seal, load_seal_key
from tasks import arbitration, carrying_out, logs
from tasks.carrying_out import Advanced
from workers.signer.documents import KeyDocument, parse_key_document
from workers.signer.keyring import KeyRing
from workers.simulation.channel import SimulatedChannel

#: Channels in one transaction of the setup.
_CHUNK = 100
#: Heights after the first block; HTLCs outlive the bench.
_EXPIRY = 2_000
_HTLC_MSAT, _PAID_MSAT = 50_000_000, 10_000_000
#: 483 of them have room in a channel, and none is trimmed.
_SMALL_HTLC_MSAT = 1_500_000
NODES = tuple(f"node{number}" for number in range(10))
#: Half of them; of the others each channel's keys are imported.
LND_NODES = frozenset(NODES[::2])


class Kind(StrEnum):
    """How a channel ends."""

    COOPERATIVE = "cooperative"
    LOCAL = "local"
    REMOTE = "remote"
    REMOTE_PENDING = "remote_pending"
    BREACH = "breach"
    DATA_LOSS = "data_loss"


#: Of twenty channels. Half of those that do not end cooperatively hold an HTLC: 35 of 100.
_MIX = (
    *(Kind.COOPERATIVE,) * 6,
    *(Kind.LOCAL,) * 5,
    *(Kind.REMOTE,) * 6,
    Kind.REMOTE_PENDING,
    Kind.BREACH,
    Kind.DATA_LOSS,
)


@dataclass(frozen=True, slots=True)
class Closing:
    """The transaction that will spend a channel's funding output."""

    kind: Kind
    raw_tx: bytes


@dataclass(frozen=True, slots=True)
class Court:
    """Where the rows and the sealed keys go."""

    database_url: str
    seal_key_file: Path


def kind_of(number: int) -> Kind:
    """How channel `number` ends. Kinds, types and HTLCs are independent of each other."""
    return _MIX[number % len(_MIX)]


def breaches(count: int, *, after: int) -> list[int]:
    """Numbers above `after` of channels that end by a breach."""
    first = after - after % len(_MIX) + len(_MIX) + _MIX.index(Kind.BREACH)
    return [first + one * len(_MIX) for one in range(count)]


def found(court: Court, numbers: Sequence[int], htlcs: int = 0) -> list[Closing]:
    """Open the channels of these numbers; how each of them will be closed.

    Args:
        htlcs: so many, up to 483, on each channel that closes by a commitment, both ways; 0: the
            usual, one on a third of all channels.
    """
    with closing(Database(court.database_url)) as db:
        db.run(_add_nodes)
    chunks = [numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = pool.map(_open, [court] * len(chunks), chunks, [htlcs] * len(chunks))
        return [closing for part in parts for closing in part]


def channel(number: int) -> SimulatedChannel:
    """Channel `number` as it stands when it is opened."""
    digest = hashlib.sha256(b"bench funding %d" % number).digest()
    types = (ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY)
    index, node = divmod(number, len(NODES))
    sim = SimulatedChannel(
        f"bench {number}",
        channel_type=types[number // len(_MIX) % 2],
        node=NODES[node],
    )
    if sim.node in LND_NODES:
        sim.own_keys, sim.key_ref = lnd_node.keys(sim.node, index), KeyRef("lnd", index)
    return sim.funded(OutPoint.of(Txid(digest), 0))


def _add_nodes(conn: Connection) -> None:
    for number, name in enumerate(NODES):
        if nodes.get_node(conn, name) is None:
            nodes.add_node(conn, name, [channel(number).sweep_script])


def _open(court: Court, numbers: Sequence[int], htlcs: int) -> list[Closing]:
    logs.configure("bench", level="warning")
    # Signatures first: no transaction stays open for them.
    sims, told, closings = [], [], []
    for number in numbers:
        sim, kind = channel(number), kind_of(number)
        moved = _move(sim, number, _htlcs_of(sim, number, htlcs))
        told.append((ChannelUpdated((sim.first_update(),)), moved))
        closings.append(Closing(kind, _closing_tx(sim, kind).serialize()))
        sims.append(sim)
    keyring = KeyRing(Seal(load_seal_key(court.seal_key_file)), mainnet=False)
    with closing(Database(court.database_url, max_size=1)) as db, db.transaction() as conn:
        ids = _register(conn, sims)
        _apply(conn, ids, [first for first, _ in told], "first")
        _apply(conn, ids, [moved for _, moved in told], "moved")
        for document in _key_documents(sims):
            keyring.store(conn, document)
    return closings


def _key_documents(sims: Sequence[SimulatedChannel]) -> Iterator[KeyDocument]:
    for node in sorted({sim.node for sim in sims} & LND_NODES):
        yield lnd_node.root(node)
    for sim in sims:
        if sim.node not in LND_NODES:
            raw = json.dumps(sim.key_document()).encode()
            yield parse_key_document(raw, mainnet=False)


def _register(conn: Connection, sims: Sequence[SimulatedChannel]) -> list[int]:
    events = [ChannelOpened(sim.channel) for sim in sims]
    by_point = channels.register_many(conn, [event.channel for event in events])
    ids = [by_point[event.channel.channel_point] for event in events]
    docket.append_many(
        conn, [NewEntry(c, event, "opened", "node") for c, event in zip(ids, events, strict=True)]
    )
    verdicts = [open_case(event) for event in events]
    cases.insert_many(conn, [(c, v.case, 1) for c, v in zip(ids, verdicts, strict=True)])
    carrying_out.write(conn, [Advanced(c, None, [v]) for c, v in zip(ids, verdicts, strict=True)])
    return ids


def _apply(
    conn: Connection, ids: Sequence[int], events: Sequence[ChannelUpdated], key: str
) -> None:
    told = zip(ids, events, strict=True)
    docket.append_many(conn, [NewEntry(c, event, key, "node") for c, event in told])
    while ids:
        ids = docket.ahead(conn, arbitration.apply_pending(conn, ids).stood)


def _htlcs_of(sim: SimulatedChannel, number: int, many: int) -> tuple[Htlc, ...]:
    if kind_of(number) is Kind.COOPERATIVE:
        return ()
    if many:
        ways = (Direction.RECEIVED, Direction.OFFERED)
        return tuple(sim.htlc(i, ways[i % 2], _SMALL_HTLC_MSAT, _EXPIRY) for i in range(many))
    if number // (2 * len(_MIX)) % 2:
        direction = Direction.OFFERED if number % 2 else Direction.RECEIVED
        return (sim.htlc(1, direction, _HTLC_MSAT, _EXPIRY),)
    return ()


def _move(sim: SimulatedChannel, number: int, htlcs: tuple[Htlc, ...]) -> ChannelUpdated:
    """Two states further, the second as the close demands it."""
    steps = sim.whole_move(_PAID_MSAT, *htlcs)
    if kind_of(number) is Kind.REMOTE_PENDING:
        sim.move(_PAID_MSAT, *htlcs)
        return ChannelUpdated((*steps, sim.propose()))
    return ChannelUpdated((*steps, *sim.whole_move(_PAID_MSAT, *htlcs)))


def _closing_tx(sim: SimulatedChannel, kind: Kind) -> Transaction:
    match kind:
        case Kind.COOPERATIVE:
            return sim.cooperative_tx()
        case Kind.LOCAL:
            return sim.our_commitment_tx()
        case Kind.REMOTE | Kind.REMOTE_PENDING:
            return sim.their_commitment_tx()
        case Kind.BREACH:
            return sim.their_commitment_tx(1)
        case Kind.DATA_LOSS:
            return sim.their_commitment_tx(sim.number + 1)
