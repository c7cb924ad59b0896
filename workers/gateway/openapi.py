"""The OpenAPI document, with the bodies of webhooks, which the gateway reads raw to verify them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from workers.gateway.payloads import WebhookBody
from workers.gateway.problems import ProblemDetails

_REFERENCES = "#/components/schemas/{model}"
WEBHOOK_BODY = "WebhookBody"

DESCRIPTION = (
    "A contract court for Lightning channels. Nodes send webhooks signed by the Standard Webhooks "
    "scheme; operators and pages look. Every error is RFC 9457 problem details."
)

#: What the webhook route says of a body that FastAPI does not read for it.
WEBHOOK_REQUEST = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": _REFERENCES.format(model=WEBHOOK_BODY)}}
        },
    }
}


def install(app: FastAPI) -> None:
    """Let `app.openapi()` answer the whole document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    webhook = TypeAdapter(WebhookBody).json_schema(ref_template=_REFERENCES)
    schemas.update(webhook.pop("$defs"))
    schemas[WEBHOOK_BODY] = webhook
    schemas[ProblemDetails.__name__] = ProblemDetails.model_json_schema()
    _drop_fastapis_own_errors(document, schemas)
    return document


def _drop_fastapis_own_errors(document: dict[str, Any], schemas: dict[str, Any]) -> None:
    """FastAPI describes its own form of 422, which is never sent here."""
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for methods in document["paths"].values():
        for operation in methods.values():
            refused = operation["responses"].get("422", {}).get("content", {})
            refused.pop("application/json", None)
