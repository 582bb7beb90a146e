"""Serves the transparency log's files over HTTP: public, signed, read-only.

Promises that nothing but files of the log can be read. Plain HTTP: every byte leads to a signature, so TLS would only hide
who reads. Any web server does as well.

Source: C2SP tlog-tiles (paths and content types).
"""

from __future__ import annotations

import re
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from vdb_coordinator.serving.http import Handler, HttpServer
from vdb_shared.transparency.tiles import CHECKPOINT_PATH

_TILE: Final = re.compile(r"tile/(?:[0-9]{1,2}|entries)/(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[0-9]{1,3})?")


class LogServer(HttpServer):
    """A thread that serves the log's folder."""

    def __init__(self, folder: Path, listen: str) -> None:
        """Listen.

        Raises:
            UsageError: the port is taken.
        """
        super().__init__("log", listen, partial(_LogHandler, folder))


class _LogHandler(Handler):
    def __init__(self, folder: Path, *arguments: Any) -> None:
        self._folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        """Answer with a file of the log."""
        path = self.path.removeprefix("/")
        newest = path == CHECKPOINT_PATH
        if not newest and not _TILE.fullmatch(path):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            data = (self._folder / path).read_bytes()
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8" if newest else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-cache" if newest else "public, max-age=31536000, immutable")
        self.end_headers()
        self.wfile.write(data)
