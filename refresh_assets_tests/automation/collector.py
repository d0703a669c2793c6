"""A little collector that speaks OTLP over HTTP, and keeps what it hears.

Here: the server, and its requests read with OpenTelemetry's own protobuf. Not here: what should arrive (test_telemetry.py)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

Points = dict[str, list[tuple[dict[str, str], float]]]


@dataclass
class Collector:
    """What arrived over OTLP, and what to answer."""

    url: str
    answer: int = 200
    requests: list[tuple[str, dict[str, str], ExportMetricsServiceRequest]] = field(default_factory=list)

    def points(self) -> Points:
        """Metric -> (attributes, value) of each of its points in the only request."""
        ((_, _, request),) = self.requests
        ((resource_metrics),) = request.resource_metrics
        ((scope),) = resource_metrics.scope_metrics
        return {
            metric.name: [
                ({one.key: one.value.string_value for one in point.attributes}, point.as_double or point.as_int)
                for point in metric.gauge.data_points
            ]
            for metric in scope.metrics
        }

    def resource(self) -> dict[str, str]:
        """The attributes of the process that sent it."""
        ((_, _, request),) = self.requests
        return {one.key: one.value.string_value for one in request.resource_metrics[0].resource.attributes}


@contextmanager
def listening() -> Iterator[Collector]:
    """A collector on a free port."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard.requests.append((self.path, headers, ExportMetricsServiceRequest.FromString(body)))
            self.send_response(heard.answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        heard = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield heard
        finally:
            server.shutdown()
            thread.join()
