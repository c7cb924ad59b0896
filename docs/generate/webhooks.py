"""`reference/webhook-events.md`: each event type with its fields, both ways.

What a node sends is read from the models that check it, what the court sends from the calls that
send it. Only the meaning of the latter stands here, and a field or a type without one is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contractcourt.contract import ContractKind
from contractcourt.effects import CloseKind
from contractcourt.policy import Policy
from docs.generate import letters
from docs.generate.http_api import openapi, references, schema_blocks
from docs.generate.letters import Sent
from docs.generate.markdown import code, page, table
from workers.gateway.openapi import WEBHOOK_BODY

_INTRODUCTION = """\
`data` of every type, as the code has it. [Webhooks](webhooks.md) says how they are signed,
answered, ordered and sent again. Keys, scripts, signatures (64 bytes, compact) and secrets are
hex; txids are in display order; an outpoint is `txid:vout`; a height is a block's. Amounts and
directions are the node's own view, on the peer's commitment too."""
_FROM_NODE = """\
A field of `data` that is not listed is refused, so that a misspelled one is not lost."""
_TO_NODE = """\
More fields may come with a later version: leave alone what you do not know."""

_TEXT, _NUMBER, _NUMBER_OR_NULL = "string", "integer", "integer or null"
_OUTPOINT, _TXID, _HEX = "string, `txid:vout`", "string, 64 hex digits", "string, 64 hex digits"
_TIME = "string, ISO 8601"
_CLOSE_KINDS = f"one of {', '.join(code(kind.value) for kind in CloseKind)}"
_CONTRACT_KINDS = f"one of {', '.join(code(kind.value) for kind in ContractKind)}"

#: Event type -> when it is sent.
_WHEN = {
    "breach.seen": "A revoked commitment is final: what the court takes of it, and until when.",
    "breach.settled": "Every output of the revoked commitment is buried.",
    "channel.closed": "The close is final and its resolutions are stored.",
    "channel.closing": (
        "Stages of a close: `requested` (the court goes on chain), `seen` (a transaction that "
        "closes is mined), `unseen` (a reorganisation took it back), `final` (it is deep enough)."
    ),
    "channel.fully_resolved": "Nothing is left to win or lose.",
    "channel.funding_replaced": "A splice is mined.",
    "contract.reopened": (
        "A reorganisation, or a preimage that came late, took a `contract.resolved` back."
    ),
    "contract.resolved": "The spend of an output of the close is buried, or it was given up.",
    "deadline.at_risk": (
        f"`at_risk_blocks` ({Policy().at_risk_blocks}) of the node's policy before an HTLC takes "
        "the channel on chain, before our commitment should be mined, or before somebody else may "
        "take a contract."
    ),
    "htlc.failed": (
        "An offered HTLC can't be claimed by the peer any more: fail it upstream, unless the peer "
        "fulfilled it off chain and its preimage was not told to the court."
    ),
    "htlc.fulfilled": (
        "The peer claimed an offered HTLC, in the mempool or in a block, or one ended whose "
        "preimage is known from elsewhere: claim it upstream."
    ),
    "alarm.raised": "Somebody has to look at something.",
    "alarm.cleared": "It is over, or an operator cleared it.",
}

#: Field, or type and field where it means something else there -> its type and meaning.
_FIELDS = {
    "acts_at": (_NUMBER_OR_NULL, "height at which the court goes on chain for it"),
    "alarm_id": (_NUMBER, "the alarm's number, as `contractcourt alarms` has it"),
    "amount_msat": (_NUMBER, "millisatoshi of the HTLC"),
    "blocks_left": (_NUMBER, "blocks until `lost_at`, at least 0"),
    "channel_point": (_OUTPOINT, "the channel, by its first funding outpoint"),
    "alarm.channel_point": (f"{_OUTPOINT}, or null", "the channel, where the alarm is of one"),
    "cleared_at": (f"{_TIME}, or null", "when it was over; null while it is open"),
    "commitment_number": (_NUMBER_OR_NULL, "of the revoked commitment"),
    "contract": (_CONTRACT_KINDS, "what the output is"),
    "funding_outpoint": (_OUTPOINT, "the new funding output"),
    "height": (_NUMBER, "block that holds the transaction"),
    "channel.fully_resolved.height": (_NUMBER, "the tip when it was decided"),
    "contract.height": (_NUMBER, "block that holds the spend; the tip when nobody spent it"),
    "deadline.at_risk.height": (_NUMBER, "the tip when it was told"),
    "htlc_id": (_NUMBER, "number of the HTLC among those of the side that offered it"),
    "contract.htlc_id": (_NUMBER_OR_NULL, "of the HTLC; null for an output of no HTLC"),
    "kind": (_CLOSE_KINDS, "which transaction closes"),
    "alarm.kind": (_TEXT, "one of [the kinds](../how-to/alarms.md), each with what to do"),
    "lost_at": (_NUMBER, "height from which it may be lost"),
    "breach.lost_at": (_NUMBER_OR_NULL, "height from which the cheater may take the first of it"),
    "lost_sat": (_NUMBER, "satoshi that the cheater, or nobody, got"),
    "message": (_TEXT, "what is wrong, for people"),
    "node": (f"{_TEXT} or null", "the node, where the alarm is of one"),
    "ours": ("true or false", "whether the node got it"),
    "outpoint": (_OUTPOINT, "the output"),
    "outputs": (_NUMBER, "outputs of the revoked commitment that the court takes"),
    "payment_hash": (_HEX, "of the HTLC"),
    "preimage": (_HEX, "what hashes to `payment_hash`"),
    "raised_at": (_TIME, "when it was raised"),
    "reason": (_TEXT, "why it was asked, for people"),
    "htlc.failed.reason": (_TEXT, "why the peer can't claim it"),
    "requested_by": (_TEXT, "who asked: `court`, `node NAME`, `operator` or `operator:USER`"),
    "required_depth": (_NUMBER, "confirmations after which the close is final"),
    "stage": (_TEXT, "which stage it is"),
    "txid": (_TXID, "the closing transaction"),
    "contract.txid": (f"{_TXID}, or null", "the spend; null when nobody spent it"),
    "deadline.at_risk.txid": (_TXID, "our commitment, of `unconfirmed_commitment`"),
    "value_at_risk_sat": (_NUMBER, "satoshi that may be lost"),
    "value_sat": (_NUMBER, "satoshi in the output"),
    "what": (
        _TEXT,
        "`offered_htlc` or `received_htlc` of an open channel, `unconfirmed_commitment`, or the "
        "contract's kind",
    ),
    "won_sat": (_NUMBER, "satoshi that the node got"),
}


class Undescribed(Exception):
    """Something sent has no words here, or words are of nothing sent; the message names it."""


def write() -> str:
    """The page. Raises Undescribed, and Unreadable when the source can't be followed."""
    schemas = openapi()["components"]["schemas"]
    to_node, to_operator = letters.to_node(), letters.to_operator()
    _hold_to_what_is_sent(to_node | to_operator)
    return page(
        "Webhook events",
        "`workers/gateway/payloads.py`, and what the law and `storage/letters.py` send",
        _INTRODUCTION,
        "## From a node",
        _FROM_NODE,
        *_received(schemas),
        "## Parts of what a node sends",
        *_parts(schemas),
        "## To a node",
        _TO_NODE,
        *_sent(to_node),
        "## To the operator",
        *_sent(to_operator),
    )


def described(event_type: str, field: Sent) -> tuple[str, str]:
    """A field's type and meaning: of its own type of event, of its family, or of all.

    Raises:
        Undescribed: there are no words for it.
    """
    for key in _keys(event_type, field.name):
        if key in _FIELDS:
            return _FIELDS[key]
    raise Undescribed(f"{event_type} sends {field.name}: say in {__name__}._FIELDS what it is")


def _keys(event_type: str, name: str) -> tuple[str, str, str]:
    return f"{event_type}.{name}", f"{event_type.partition('.')[0]}.{name}", name


def _hold_to_what_is_sent(sent: Mapping[str, list[Sent]]) -> None:
    if odd := sent.keys() ^ _WHEN.keys():
        raise Undescribed(f"{__name__}._WHEN and what is sent differ in {', '.join(sorted(odd))}")
    used = {
        next(key for key in _keys(event_type, field.name) if key in _FIELDS)
        for event_type, fields in sent.items()
        for field in fields
        if described(event_type, field)
    }
    if idle := _FIELDS.keys() - used:
        raise Undescribed(f"{__name__}._FIELDS: nothing sends {', '.join(sorted(idle))}")


def _received(schemas: Mapping[str, Any]) -> Iterator[str]:
    for event_type, reference in schemas[WEBHOOK_BODY]["discriminator"]["mapping"].items():
        envelope = schemas[_name(reference)]
        data = schemas[_name(envelope["properties"]["data"]["$ref"])]
        yield f"### {event_type}"
        yield from schema_blocks({**_worded(data), "description": envelope["description"]})


def _parts(schemas: Mapping[str, Any]) -> Iterator[str]:
    """What the data of events is made of, and what those parts are made of."""
    bodies = schemas[WEBHOOK_BODY]["discriminator"]["mapping"].values()
    datas = {_name(schemas[_name(one)]["properties"]["data"]["$ref"]) for one in bodies}
    found: set[str] = set()
    waiting = set(datas)
    while waiting:
        inner = {_name(one) for one in references(schemas[waiting.pop()])}
        waiting |= inner - found
        found |= inner
    for name in sorted(found - datas):
        yield f"### {name}"
        yield from schema_blocks(_worded(schemas[name]))


def _worded(schema: dict[str, Any]) -> dict[str, Any]:
    for name, field in schema["properties"].items():
        if not field.get("description"):
            raise Undescribed(f"{schema['title']}.{name}: say below the field what it means")
    return schema


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _sent(types: Mapping[str, list[Sent]]) -> Iterator[str]:
    for event_type, fields in types.items():
        rows = (_row(event_type, field) for field in fields)
        yield f"### {event_type}"
        yield _WHEN[event_type]
        yield table(("field", "type", "sent", "meaning"), rows)


def _row(event_type: str, field: Sent) -> tuple[str, str, str, str]:
    kind, meaning = described(event_type, field)
    if field.values:
        kind = f"one of {', '.join(map(code, field.values))}"
    return code(field.name), kind, "always" if field.always else "where it applies", meaning
