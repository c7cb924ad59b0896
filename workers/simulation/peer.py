"""The peer's own moves on chain: what it claims from our commitment, how it cheats with its own.

Its transactions are real: built by the same law from its side, signed with its keys.
"""

from __future__ import annotations

from contractcourt.arbitrator.classification import Classified
from contractcourt.arbitrator.contracts import build_contracts, recognised
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.commitment import build_commitment
from contractcourt.bolt3.htlc import build_second_level
from contractcourt.channel import Htlc, Side
from contractcourt.contract import Contract
from contractcourt.effects import CloseKind, SweepOutput
from contractcourt.fee_rules import DEFAULT_FEE_POLICY
from contractcourt.signing import contract_input, sweep_request
from contractcourt.signing_policy import check_request
from contractcourt.sweep_rules import Allowed
from contractcourt.sweeping.drafts import Draft, FeeWallet, draft
from contractcourt.sweeping.groups import Group
from contractcourt.sweeping.inputs import SweepInput
from contractcourt.units import BlockHeight, FeeratePerKw, HexBytes, Secret
from workers.errors import WorkerError
from workers.signer.channel_keys import ChannelKeys
from workers.signer.signatures import sign_sweep
from workers.simulation.channel import SimulatedChannel

_FEERATE = FeeratePerKw(500)


class NoSuchContract(WorkerError):
    """This commitment holds no output for that HTLC."""


class Peer:
    """The other end of a simulated channel, as it stands when it is made."""

    def __init__(self, sim: SimulatedChannel) -> None:
        self._sim = sim.as_peer()
        ours = self._sim.ours
        self._keys = ChannelKeys(
            funding_key=ours.secret("funding"),
            revocation_base_key=ours.secret("revocation_base"),
            payment_key=ours.secret("payment"),
            delayed_payment_base_key=ours.secret("delayed_payment_base"),
            htlc_base_key=ours.secret("htlc_base"),
            commitment_seed=ours.secret("commitment_seed"),
        )

    def claim(self, number: int, htlc_id: int, preimage: Secret | None = None) -> Transaction:
        """What the peer takes from *our* commitment `number`: by preimage, or after the expiry."""
        point = self._sim.theirs.point(number)
        htlcs = self._sim.history[number].htlcs
        tx = self._sim.their_commitment_tx(number)
        found = Classified(CloseKind.REMOTE, Side.REMOTE, number, point, htlcs)
        contract = self._contract(found, tx, htlc_id)
        want = SweepOutput(contract, self._sim.sweep_script, budget_sat=contract.value_sat)
        item = SweepInput(self._sim.channel, want, BlockHeight(0), _FEERATE, _FEERATE)
        drafted = draft(Group.alone(item, _FEERATE), FeeWallet(), _FEERATE)
        assert isinstance(drafted, Draft)
        return self._signed(drafted.tx, contract, preimage)

    def second_level(
        self, number: int, htlc_id: int, preimage: Secret | None = None
    ) -> Transaction:
        """The peer's HTLC-timeout, or HTLC-success, on *its own* commitment `number`."""
        told = self._sim.local_commitment(number)
        point = self._sim.ours.point(number)
        found = Classified(CloseKind.LOCAL, Side.LOCAL, number, point, told.htlcs)
        contract = self._contract(found, self._sim.our_commitment_tx(number), htlc_id)
        built = build_commitment(
            self._sim.channel,
            Side.LOCAL,
            number,
            point,
            told.feerate_per_kw,
            told.to_local_msat,
            told.to_remote_msat,
            told.htlcs,
        )
        output = built.outputs[contract.outpoint.vout]
        tx = build_second_level(
            self._sim.channel, built.keys, built.tx.txid(), output, told.feerate_per_kw
        )
        return self._signed(tx, contract, preimage)

    def _contract(self, found: Classified, tx: Transaction, htlc_id: int) -> Contract:
        channel = self._sim.channel
        outputs = recognised(channel, found, tx)
        for contract in build_contracts(channel, found, tx, BlockHeight(1), outputs):
            if isinstance(contract.htlc, Htlc) and contract.htlc.id == htlc_id:
                return contract
        raise NoSuchContract(f"no output for HTLC {htlc_id} on commitment {found.number}")

    def _signed(self, tx: Transaction, contract: Contract, preimage: Secret | None) -> Transaction:
        channel = self._sim.channel
        spent = contract_input(channel, contract, preimage)
        request = sweep_request(channel.node, HexBytes(tx.serialize()), [spent])
        keys = {channel.channel_point: self._keys}
        allowed = Allowed({self._sim.sweep_script})
        return sign_sweep(keys, None, request, check_request(request), allowed, DEFAULT_FEE_POLICY)
