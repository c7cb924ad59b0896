"""Who sent a webhook: Standard Webhooks signatures, several valid secrets a node.

The scheme signs `id.timestamp.body`, so a webhook can be neither forged nor sent again later
under a new time. A node whose secret was rotated may sign with the old one until it runs out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from standardwebhooks import Webhook, WebhookVerificationError

from workers.gateway.problems import Problem

#: Stands in where there is no secret, so that asking takes as long as a wrong signature. Anybody
#: may read it here: what it signs is never let in.
_DECOY_SECRET = "whsec_bm8gc3VjaCBub2RlLCBubyBzdWNoIHNlY3JldA=="
_MAX_ID_LENGTH = 256
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
#: As the library says these.
_NO_TIMESTAMP = "Invalid Signature Headers"
_STALE_MESSAGES = ("Message timestamp too old", "Message timestamp too new")


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """The body of a webhook, what its headers say of it, and the address that it came from."""

    message_id: str
    headers: Mapping[str, str]
    body: bytes
    sender: str = ""

    @classmethod
    def read(cls, headers: Mapping[str, str], body: bytes, sender: str = "") -> SignedMessage:
        """Take the three headers. Raises Problem 401 when one is missing, 400 on a bad id."""
        missing = [name for name in _HEADERS if not headers.get(name)]
        if missing:
            raise Problem(
                "bad-signature",
                f"missing header {', '.join(missing)}: sign as Standard Webhooks 1.0 says",
            )
        message_id = headers["webhook-id"]
        if len(message_id) > _MAX_ID_LENGTH or not message_id.isprintable():
            raise Problem(
                "malformed-request",
                f"webhook-id must be at most {_MAX_ID_LENGTH} printable characters",
            )
        return cls(message_id, {name: headers[name] for name in _HEADERS}, body, sender)


def verify(message: SignedMessage, secrets: Sequence[str] | None) -> None:
    """Check that one of `secrets` signed the message within five minutes of now.

    Args:
        secrets: the node's valid ones (`whsec_...`); None for a node that does not exist.

    Raises:
        Problem: 401 `bad-signature` or `stale-timestamp`; 404 for a node that does not exist.
    """
    problem = None
    for secret in secrets or (_DECOY_SECRET,):
        problem = _problem_under(message, secret)
        if problem is None:
            break
    if secrets is None:
        raise Problem("unknown-node", "no node of this name is registered: contractcourt node add")
    if problem is not None or not secrets:
        raise problem or _bad_signature()


def _problem_under(message: SignedMessage, secret: str) -> Problem | None:
    try:
        Webhook(secret).verify(message.body, dict(message.headers), json_parse=False)
    except WebhookVerificationError as error:
        if str(error) in _STALE_MESSAGES:
            return Problem(
                "stale-timestamp",
                "webhook-timestamp is more than five minutes from the court's clock: "
                "set the clock, or sign the message again",
            )
        if str(error) == _NO_TIMESTAMP:
            return Problem("bad-signature", "webhook-timestamp must be seconds since 1970")
        return _bad_signature()
    except ValueError:
        # Not base64, no comma in a signature, a body that is no UTF-8: the library lets these out.
        return _bad_signature()
    return None


def _bad_signature() -> Problem:
    return Problem(
        "bad-signature",
        "no valid secret of this node signed this message: sign the exact body that is sent, "
        "with the secret that `contractcourt node add` or `rotate-secret` printed",
    )
