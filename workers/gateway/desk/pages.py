"""How a template becomes an answer: escaped, under a strict policy, kept by nobody."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from contractcourt.units import FeeratePerKw
from workers.gateway.desk import static
from workers.gateway.desk.risk import left, risk_of
from workers.gateway.waiting import sat_per_vbyte

#: Nothing but our own files and forms, no word of script or style in the page itself.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: a form would then come from the origin "null".
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Thousands apart, never broken over a line.
_THIN_SPACE = "\u202f"


def page(
    template: str, status: int = 200, headers: dict[str, str] | None = None, **facts: Any
) -> HTMLResponse:
    """An answer of `templates/{template}.html`."""
    content = _ENVIRONMENT.get_template(f"{template}.html").render(**facts)
    return HTMLResponse(content, status, {**_HEADERS, **(headers or {})})


def number(value: int) -> str:
    """With its thousands apart."""
    return f"{value:,}".replace(",", _THIN_SPACE)


def moment(value: datetime | str | None) -> str:
    """A time to the second, in UTC."""
    if not value:
        return ""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def words(value: str) -> str:
    """A name of the code as people say it: `revoked_to_local` is "revoked to local"."""
    return value.replace("_", " ")


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _sat_per_vbyte(feerate: int | None) -> str:
    return "" if feerate is None else sat_per_vbyte(FeeratePerKw(feerate))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("workers.gateway.desk"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, moment=moment, words=words, json=_json, sat_per_vbyte=_sat_per_vbyte
    )
    environment.globals.update(address_of=static.address_of, left=left, risk_of=risk_of)
    return environment


_ENVIRONMENT = _environment()
