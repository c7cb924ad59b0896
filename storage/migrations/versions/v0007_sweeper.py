"""The sweeper: what is to be swept and at what fee so far, the fee wallets, the hard deadlines."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

SWEEP_INPUTS = """
CREATE TABLE sweep_inputs (
    outpoint bytea PRIMARY KEY CHECK (length(outpoint) = 36),
    channel_id bigint NOT NULL REFERENCES channels (id),
    node text NOT NULL REFERENCES nodes (name),
    want text NOT NULL CHECK (want <> ''),
    state text NOT NULL DEFAULT 'wanted' CHECK (state IN (
        'wanted', 'quarantined', 'given_up', 'dropped')),
    -- What was ever offered for it at most: it never falls (users_ask L7).
    feerate_per_kw bigint NOT NULL DEFAULT 0 CHECK (feerate_per_kw >= 0),
    -- Where its fee curve begins.
    started_height integer NOT NULL CHECK (started_height >= 0),
    -- Refused together with others: it goes alone.
    alone boolean NOT NULL DEFAULT false,
    -- Why it is not out, in words for people.
    reason text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX sweep_inputs_wanted ON sweep_inputs (node, created_at) WHERE state = 'wanted';
CREATE INDEX sweep_inputs_of_channel ON sweep_inputs (channel_id);

-- One round of sweeping for a node at a time; whoever finds it busy asks for another one.
CREATE TABLE sweep_rounds (
    node text PRIMARY KEY REFERENCES nodes (name),
    asked bigint NOT NULL DEFAULT 0,
    done bigint NOT NULL DEFAULT 0 CHECK (done <= asked),
    busy_until timestamptz
);
"""

BROADCASTS = """
ALTER TABLE broadcasts
    ADD COLUMN node text REFERENCES nodes (name),
    ADD COLUMN fee_sat bigint CHECK (fee_sat >= 0),
    ADD COLUMN weight integer CHECK (weight > 0),
    ADD COLUMN feerate_per_kw bigint CHECK (feerate_per_kw >= 0),
    -- Sent together with this one, as a package (CPFP).
    ADD COLUMN parent_txid bytea CHECK (length(parent_txid) = 32);
ALTER TABLE broadcast_inputs
    ADD COLUMN channel_id bigint REFERENCES channels (id),
    ADD COLUMN fee_sat bigint CHECK (fee_sat >= 0);
CREATE INDEX broadcast_inputs_of_channel ON broadcast_inputs (channel_id)
    WHERE channel_id IS NOT NULL;
"""

FEE_WALLETS = """
CREATE TABLE fee_wallet_scripts (
    node text NOT NULL REFERENCES nodes (name),
    index integer NOT NULL CHECK (index >= 0),
    script_pubkey bytea NOT NULL UNIQUE CHECK (length(script_pubkey) > 0),
    -- Coins from before the watcher knew the script have been looked for.
    scanned boolean NOT NULL DEFAULT false,
    PRIMARY KEY (node, index)
);

CREATE TABLE fee_wallet_coins (
    outpoint bytea PRIMARY KEY CHECK (length(outpoint) = 36),
    node text NOT NULL,
    index integer NOT NULL,
    value_sat bigint NOT NULL CHECK (value_sat > 0),
    height integer NOT NULL CHECK (height >= 0),
    -- NULL for coins found in the UTXO set, whose block nobody asked for.
    block_hash bytea CHECK (length(block_hash) = 32),
    spent_height integer CHECK (spent_height >= 0),
    spent_block_hash bytea CHECK (length(spent_block_hash) = 32),
    FOREIGN KEY (node, index) REFERENCES fee_wallet_scripts (node, index)
);
CREATE INDEX fee_wallet_coins_unspent ON fee_wallet_coins (node) WHERE spent_height IS NULL;
CREATE INDEX fee_wallet_coins_by_block ON fee_wallet_coins (block_hash);
CREATE INDEX fee_wallet_coins_by_spent_block ON fee_wallet_coins (spent_block_hash);
"""

#: A deadline may wait, after a restart, until its hard height (users_ask L13).
DEADLINES = """
ALTER TABLE deadlines ADD COLUMN hard_height integer;
UPDATE deadlines SET hard_height = height;
ALTER TABLE deadlines
    ALTER COLUMN hard_height SET NOT NULL,
    ADD CONSTRAINT deadlines_hard_height_check CHECK (hard_height >= height);
"""

#: Their claims are looked for in the mempool (users_ask L15).
CONTRACTS = """
CREATE INDEX contracts_claimable_by_hash ON contracts (cltv_expiry, outpoint)
    WHERE kind = 'offered_htlc' AND spend_txid IS NULL AND stage <> 'resolved';
"""

NODES = """
ALTER TABLE nodes ADD COLUMN policy text CHECK (policy <> '');

-- What anchors cost is reserved for each channel that has them.
ALTER TABLE channels ADD COLUMN channel_type text CHECK (channel_type <> '');
UPDATE channels AS c SET channel_type = k.case_json::jsonb -> 'channel' ->> 'channel_type'
FROM cases AS k WHERE k.channel_id = c.id;
CREATE INDEX channels_not_closed ON channels (node) WHERE closed_id IS NULL;

-- An alarm may be about a node: about its fee wallet, say.
ALTER TABLE alarms ADD COLUMN node text REFERENCES nodes (name);
DROP INDEX alarms_once_while_open;
CREATE UNIQUE INDEX alarms_once_while_open ON alarms (channel_id, node, kind, md5(message))
    NULLS NOT DISTINCT WHERE cleared_at IS NULL;
"""

KINDS = """
ALTER TABLE docket
    DROP CONSTRAINT docket_kind_check,
    ADD CONSTRAINT docket_kind_check CHECK (kind IN (
        'channel_opened', 'channel_updated', 'preimage_learned', 'force_close_requested',
        'funding_replaced', 'spend_confirmed', 'spend_unconfirmed', 'height_reached',
        'transaction_published', 'local_point_learned', 'revoked_state_recalled',
        'spend_seen', 'sweep_given_up', 'policy_changed'));
-- A sweep is a row of sweep_inputs from now on; `reconcile` wants anew what nobody sweeps.
DELETE FROM outbox WHERE kind = 'sweep_output';
ALTER TABLE outbox
    DROP CONSTRAINT outbox_kind_check,
    ADD CONSTRAINT outbox_kind_check CHECK (kind IN (
        'publish_commitment', 'publish_htlc_transaction', 'notify_node', 'ask_local_point'));
"""


def upgrade() -> None:
    for statements in (SWEEP_INPUTS, BROADCASTS, FEE_WALLETS, DEADLINES, CONTRACTS, NODES, KINDS):
        op.execute(statements)
