"""Who may look and who may act over HTTP: bearer tokens of the operator and of viewers."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import StrEnum

from workers.gateway.problems import Problem


class Role(StrEnum):
    """What a token makes of its holder."""

    OPERATOR = "operator"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Access:
    """The tokens of one court. Reading is open to all unless `protect_reads`."""

    operator_token: str | None = field(default=None, repr=False)
    viewer_token: str | None = field(default=None, repr=False)
    protect_reads: bool = False

    def require_operator(self, authorization: str | None) -> None:
        """Raises Problem 401 without a known token, 403 when it is only a viewer's."""
        if self.operator_token is None:
            raise Problem(
                "forbidden", "this court has no operator token: set CONTRACTCOURT_OPERATOR_TOKEN"
            )
        token = _bearer(authorization)
        if _same(token, self.operator_token):
            return
        if _same(token, self.viewer_token):
            raise Problem("forbidden", "a viewer may only look: use the operator token")
        raise _unauthorized("the operator token")

    def require_reader(self, authorization: str | None) -> None:
        """Raises Problem 401 when reads are protected and no known token is given."""
        if not self.protect_reads:
            return
        if self.role_of_bearer(authorization) is None:
            raise _unauthorized("the operator's or a viewer's token")

    def role_of(self, token: str) -> Role | None:
        """Whose token this is; None when it is nobody's."""
        if _same(token, self.operator_token):
            return Role.OPERATOR
        return Role.VIEWER if _same(token, self.viewer_token) else None

    def role_of_bearer(self, authorization: str | None) -> Role | None:
        """Whose token an Authorization header carries."""
        return self.role_of(_bearer(authorization))

    def token_of(self, role: Role) -> str | None:
        """The token that makes somebody this."""
        return self.operator_token if role is Role.OPERATOR else self.viewer_token


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _same(given: str, expected: str | None) -> bool:
    # As bytes: compare_digest takes no text beyond ASCII.
    return expected is not None and hmac.compare_digest(given.encode(), expected.encode())


def _unauthorized(which: str) -> Problem:
    return Problem(
        "unauthorized",
        f"send {which} as Authorization: Bearer ...",
        {"WWW-Authenticate": "Bearer"},
    )
