"""Serves the metrics over HTTP, to whoever can reach the port: that is for the operator's network to decide.

Source: protos/README.md §11.8.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST

from vdb_coordinator.serving.http import Handler, HttpServer
from vdb_coordinator.serving.metrics import Metrics

PATH: Final = "/metrics"


def serve_metrics(metrics: Metrics, listen: str) -> HttpServer:
    """Serve the metrics.

    Raises:
        UsageError: the port is taken.
    """
    return HttpServer("metrics", listen, partial(_MetricsHandler, metrics))


class _MetricsHandler(Handler):
    def __init__(self, metrics: Metrics, *arguments: Any) -> None:
        self._metrics = metrics
        super().__init__(*arguments)

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        """Answer with all figures."""
        if self.path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        text = self._metrics.text()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
