"""Traces reach a collector, from children too, and cost nothing where none is named."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tasks import tracing


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, and keeps (process, span) of what it is sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[tuple[str, str]] = []
        self.attributes: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            import gzip

            raw = gzip.decompress(raw)
        assert self.path == "/v1/traces"
        for sent in ExportTraceServiceRequest.FromString(raw).resource_spans:
            of = {one.key: one.value.string_value for one in sent.resource.attributes}
            for scope in sent.scope_spans:
                for span in scope.spans:
                    self.server.spans.append((of["contractcourt.process"], span.name))
                    for one in span.attributes:
                        self.server.attributes[one.key] = str(one.value)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """The test says what matters."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_are_sent_before_the_process_lets_go(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tracing.ENDPOINT, collector.url)
    with tracing.traced("watcher"):
        for height in range(3):
            with tracing.span("watcher.block", height=height):
                pass
    assert collector.spans == [("watcher", "watcher.block")] * 3
    with tracing.span("after the end"):
        pass
    assert len(collector.spans) == 3


def test_an_exception_passes_and_its_span_is_sent(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tracing.ENDPOINT, collector.url)
    with (
        pytest.raises(ValueError, match="as it was"),
        tracing.traced("worker"),
        tracing.span("contractcourt.publish"),
    ):
        raise ValueError("as it was")
    assert collector.spans == [("worker", "contractcourt.publish")]


_CHILDREN = """
import os
from tasks import tracing
tracing.start("parent")
with tracing.span("in the parent"):
    pass
for number in range(3):
    pid = os.fork()
    if pid == 0:
        with tracing.traced("worker"), tracing.span("contractcourt.arbitrate"):
            pass
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
tracing.stop()
"""


def test_c15_a_child_begins_after_its_fork_and_sends_before_it_ends(collector: Collector) -> None:
    environment = os.environ | {tracing.ENDPOINT: collector.url}
    done = subprocess.run(
        [sys.executable, "-c", _CHILDREN],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(collector.spans) == [
        ("parent", "in the parent"),
        *[("worker", "contractcourt.arbitrate")] * 3,
    ]


def test_without_an_endpoint_nothing_is_even_imported() -> None:
    code = (
        "import sys; from tasks import tracing; tracing.start('worker')\n"
        "with tracing.span('x'): pass\n"
        "tracing.stop(); sys.exit('opentelemetry.sdk' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k != tracing.ENDPOINT}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=120, check=False)
    assert done.returncode == 0
