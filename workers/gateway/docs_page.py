"""`/docs`: the OpenAPI as a page that needs no network and no scripts.

FastAPI's own page loads its scripts from a CDN; a court often stands where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from workers.gateway.desk.pages import page


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter of a call, and where it stands."""

    name: str
    place: str
    required: bool
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Answer:
    """One status a call may answer with, and the schemas of its body."""

    status: str
    text: str
    names: list[str]


@dataclass(frozen=True, slots=True)
class _Call:
    """One method of one path. `body` names the schemas of what is sent."""

    method: str
    path: str
    text: str
    parameters: list[_Parameter]
    body: list[str]
    answers: list[_Answer]


def routes(app: FastAPI) -> APIRouter:
    """`GET /docs`."""
    router = APIRouter()

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        openapi = app.openapi()
        calls = [
            _call(method, path, operation)
            for path, methods in openapi["paths"].items()
            for method, operation in methods.items()
        ]
        schemas = sorted(openapi["components"]["schemas"].items())
        return page("api", api=openapi, calls=calls, schemas=schemas)

    return router


def _call(method: str, path: str, operation: dict[str, Any]) -> _Call:
    return _Call(
        method=method.upper(),
        path=path,
        text=operation.get("description") or operation.get("summary", ""),
        parameters=[
            _Parameter(given["name"], given["in"], given.get("required", False), given["schema"])
            for given in operation.get("parameters", ())
        ],
        body=sorted(set(_names(operation.get("requestBody")))),
        answers=[
            _Answer(status, answer.get("description", ""), sorted(set(_names(answer))))
            for status, answer in operation["responses"].items()
        ],
    )


def _names(part: Any) -> Iterator[str]:
    """The schemas that a part of the document refers to."""
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        for inner in part.values():
            yield from _names(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _names(inner)
