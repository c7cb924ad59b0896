"""The files of the pages: one style, one script, one picture, read from the package once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from workers.gateway.problems import Problem

_TYPES = {"desk.css": "text/css", "desk.js": "text/javascript", "mark.svg": "image/svg+xml"}
#: The address changes with the content.
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    digest: str
    media_type: str


def _read(name: str, media_type: str) -> _File:
    content = files("workers.gateway.desk").joinpath("static", name).read_bytes()
    return _File(content, hashlib.sha256(content).hexdigest()[:16], media_type)


_FILES = {name: _read(name, media_type) for name, media_type in _TYPES.items()}


def address_of(name: str) -> str:
    """Where a page finds a file, in the version that this process has."""
    return f"/static/{_FILES[name].digest}/{name}"


def routes() -> APIRouter:
    """`GET /static/{digest}/{name}`, open to everybody."""
    router = APIRouter()

    @router.get("/static/{digest}/{name}", include_in_schema=False)
    async def static_file(digest: str, name: str) -> Response:
        file = _FILES.get(name)
        if file is None:
            raise Problem("not-found", f"there is no file {name[:64]}")
        # Another version of the gateway made that page: what we have, but not to be kept.
        kept = _FOR_EVER if digest == file.digest else "no-store"
        headers = {"Cache-Control": kept, "X-Content-Type-Options": "nosniff"}
        return Response(file.content, headers=headers, media_type=file.media_type)

    return router
