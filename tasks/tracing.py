"""Traces by OpenTelemetry, where `OTEL_EXPORTER_OTLP_ENDPOINT` is set; otherwise nothing at all.

Each process begins its own after its fork, since the exporter's thread does not survive one, and
gives away what it holds before it ends (users_ask C15). Names and numbers only: no span carries an
argument that could be a secret. The library is the extra `traces`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
#: The last spans of a process that ends are waited for so long.
_FLUSH_MILLISECONDS = 3_000

_log = structlog.get_logger()
_provider: Any = None


def start(process: str) -> None:
    """Trace this process from now on, if an endpoint is named."""
    global _provider
    if not os.environ.get(ENDPOINT):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("no traces: install contractcourt[traces]", endpoint_variable=ENDPOINT)
        return
    named = Resource.create({"service.name": "contractcourt", "contractcourt.process": process})
    _provider = TracerProvider(resource=named)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def stop() -> None:
    """Send what is held, and trace no more."""
    global _provider
    provider, _provider = _provider, None
    if provider is not None:
        provider.force_flush(_FLUSH_MILLISECONDS)
        provider.shutdown()


@contextmanager
def span(name: str, **attributes: int | str) -> Iterator[None]:
    """What happens inside is one span. An exception marks it and goes on."""
    if _provider is None:
        yield
        return
    with _provider.get_tracer("contractcourt").start_as_current_span(name, attributes=attributes):
        yield


@contextmanager
def traced(process: str) -> Iterator[None]:
    """Trace a process from here to its end."""
    start(process)
    try:
        yield
    finally:
        stop()
