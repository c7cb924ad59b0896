"""Who has signed in: a signed cookie that any gateway of the court can read.

Nothing is stored. The key is made of the token that opened the session, so every gateway with the
same token reads the same cookies, and a changed token ends every session that it opened.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from functools import cached_property

from itsdangerous import BadSignature, URLSafeTimedSerializer

from workers.gateway.access import Access, Role

COOKIE = "contractcourt_session"
#: A working day; then the token is asked for again.
LIFETIME_SECONDS = 12 * 3600
#: A stolen cookie must not make a short token cheap to guess.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in. `form_token` proves that a form was shown to this very session."""

    role: Role
    form_token: str


class Sessions:
    """Opens and reads the sessions of one court's tokens."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def open(self, token: str) -> str | None:
        """The cookie's value for the holder of a token; None when the token is nobody's."""
        role = self._access.role_of(token)
        if role is None:
            return None
        return self._keys[role].seal.dumps(secrets.token_urlsafe(16))

    def read(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None when it is forged, out of date, or of an old token."""
        if not cookie:
            return None
        for role, key in self._keys.items():
            try:
                nonce = str(key.seal.loads(cookie, max_age=LIFETIME_SECONDS))
            except BadSignature:
                continue
            return Session(role, key.form_token(nonce))
        return None

    @cached_property
    def _keys(self) -> dict[Role, _Key]:
        # At the first sign-in, and not at every start of a process that only shows metrics.
        tokens = ((role, self._access.token_of(role)) for role in Role)
        return {role: _Key.of(role, token) for role, token in tokens if token is not None}


@dataclass(frozen=True, slots=True)
class _Key:
    secret: bytes
    seal: URLSafeTimedSerializer

    @classmethod
    def of(cls, role: Role, token: str) -> _Key:
        secret = hashlib.scrypt(token.encode(), salt=f"desk {role.value}".encode(), **_SCRYPT)
        digest = {"digest_method": hashlib.sha256}
        return cls(secret, URLSafeTimedSerializer(secret, "session", signer_kwargs=digest))

    def form_token(self, nonce: str) -> str:
        return hmac.new(self.secret, f"form {nonce}".encode(), hashlib.sha256).hexdigest()


def is_form_of(session: Session, given: str) -> bool:
    """Whether a form came from a page of this session."""
    return hmac.compare_digest(given.encode(), session.form_token.encode())
