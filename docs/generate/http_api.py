"""`reference/http-api.md` and `reference/openapi.json`: the gateway's calls, out of its routes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from docs.generate.markdown import code, page, sentence, table
from storage.census import Census
from workers.gateway.access import Access
from workers.gateway.app import create_app
from workers.gateway.court import Court
from workers.gateway.metrics import GatewayMetrics
from workers.gateway.problems import KINDS, URN

_INTRODUCTION = f"""\
A running gateway shows the same at `/docs`, and [openapi.json](openapi.json) has it for machines.
Every error is [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem details; branch on its
`type`, which is `{URN}` and one of the names at the end of this page. Webhooks from nodes have
[a page of their own](webhooks.md)."""

_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "maxLength": "at most {} characters",
}


def write() -> str:
    """The page."""
    document = openapi()
    blocks = [_INTRODUCTION]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            blocks += _operation(f"{method.upper()} {path}", operation)
    problems = ((str(status), code(name), title) for name, (status, title) in KINDS.items())
    blocks += ["## Problems", table(("status", "name", "title"), problems), "## Schemas"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        blocks += [f"### {name}", *schema_blocks(schema)]
    return page("The HTTP API", "the routes in `workers/gateway`", *blocks)


def write_openapi() -> str:
    """The OpenAPI document itself."""
    return json.dumps(openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def openapi() -> dict[str, Any]:
    """What the gateway answers at `/openapi.json`; asking for it needs no database."""
    court = Court(
        db=None,  # type: ignore[arg-type]  # no route is called
        access=Access(None, None, False),
        metrics=GatewayMetrics(_no_census, lambda: None),
        wake=lambda _: None,
    )
    return create_app(court).openapi()


def _no_census() -> Census:
    raise NotImplementedError("nothing is counted for a page")


def _operation(title: str, operation: dict[str, Any]) -> list[str]:
    parameters = (
        (
            code(one["name"]),
            one["in"],
            "yes" if one.get("required") else "no",
            _type(one["schema"]),
            one.get("description", ""),
        )
        for one in operation.get("parameters", ())
    )
    body = operation.get("requestBody")
    answers = (
        (status, answer.get("description", ""), ", ".join(_links(answer)))
        for status, answer in operation["responses"].items()
    )
    return [
        f"## {title}",
        operation.get("description") or operation.get("summary", ""),
        table(("parameter", "in", "needed", "type", "meaning"), parameters),
        f"Body: {', '.join(_links(body))}" if body else "",
        table(("status", "meaning", "body"), answers),
    ]


def schema_blocks(schema: dict[str, Any]) -> list[str]:
    """What a schema is for, and its fields. Links lead to headings of the same page."""
    needed = set(schema.get("required", ()))
    fields = (
        (
            code(field),
            _type(facts),
            "yes" if field in needed else "no",
            sentence(facts.get("description", "")),
        )
        for field, facts in schema.get("properties", {}).items()
    )
    one_of = " or ".join(_links(schema)) if "properties" not in schema else ""
    return [
        sentence(schema.get("description", "")),
        one_of,
        table(("field", "type", "needed", "meaning"), fields),
    ]


def _type(schema: dict[str, Any]) -> str:
    """In a few words: links for schemas, the values of a closed set, the pattern of a text."""
    match schema:
        case {"$ref": str(reference)}:
            return _link(reference)
        case {"anyOf": [*choices]} | {"oneOf": [*choices]}:
            return " or ".join(_type(choice) for choice in choices)
        case {"enum": [*values]}:
            return ", ".join(code(value) for value in values)
        case {"const": value}:
            return code(value)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_type(items)}"
        case {"type": str(kind), **rest}:
            limits = [words.format(rest[name]) for name, words in _LIMITS.items() if name in rest]
            pattern = [code(rest["pattern"])] if "pattern" in rest else []
            return ", ".join([str(rest.get("format", kind)), *limits, *pattern])
        case _:
            return "anything"


def _links(part: Any) -> list[str]:
    return [_link(reference) for reference in sorted(set(references(part)))]


def _link(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return f"[{name}](#{name.lower()})"


def references(part: Any) -> Iterator[str]:
    """Every schema that a part of the document names, as often as it does."""
    match part:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for inner in part.values():
                yield from references(inner)
        case list():
            for inner in part:
                yield from references(inner)
