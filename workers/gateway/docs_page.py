"""`/docs`: the OpenAPI as a page that needs no network and no scripts.

FastAPI's own page loads its scripts from a CDN; a court often stands where there is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from workers.gateway.page import document, table


def routes(app: FastAPI) -> APIRouter:
    """`GET /docs`."""
    router = APIRouter()

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return _page(app.openapi())

    return router


def _page(openapi: dict[str, Any]) -> HTMLResponse:
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(
        f'<h3 id="{escape(name)}">{escape(name)}</h3>{_json(schema)}'
        for name, schema in sorted(openapi["components"]["schemas"].items())
    )
    intro = escape(openapi["info"]["description"])
    return document(
        "contractcourt API",
        f'<p>{intro}</p><p><a href="/openapi.json">openapi.json</a></p>'
        f"<h2>Calls</h2>{operations}<h2>Schemas</h2>{schemas}",
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = escape(operation.get("description") or operation.get("summary", ""))
    parameters = table(
        ("parameter", "in", "needed", "schema"),
        (
            (
                escape(parameter["name"]),
                escape(parameter["in"]),
                "yes" if parameter.get("required") else "no",
                f"<code>{escape(json.dumps(parameter['schema']))}</code>",
            )
            for parameter in operation.get("parameters", ())
        ),
    )
    body = operation.get("requestBody")
    answers = table(
        ("status", "meaning", "body"),
        (
            (escape(status), escape(answer.get("description", "")), _links(answer))
            for status, answer in operation["responses"].items()
        ),
    )
    return (
        f"<h3><code>{escape(method.upper())} {escape(path)}</code></h3><p>{text}</p>"
        + (parameters if operation.get("parameters") else "")
        + (f"<p>Body: {_links(body)}</p>" if body else "")
        + answers
    )


def _links(part: dict[str, Any]) -> str:
    return ", ".join(
        f'<a href="#{escape(name)}">{escape(name)}</a>' for name in sorted(set(_names(part)))
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


def _json(schema: dict[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=2))}</pre>"
