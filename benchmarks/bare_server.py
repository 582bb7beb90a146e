"""A gRPC server with mutual TLS that does nothing but keep watchers and tell them one thing: the floor under a coordinator.

    python benchmarks/bare_server.py FOLDER PORT-FILE

FOLDER holds `key.pem`, `chain.pem`, `ca.pem` and the two messages `first` and `news`. Every watcher is sent the first at once
and the news upon SIGUSR1. The port is written to PORT-FILE. Nothing of the project is loaded here: what this program holds and
takes, a coordinator on the same library cannot go below.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

METHOD = "/vdb.v1.SessionService/WatchSession"


class _Watch(grpc.GenericRpcHandler):
    def __init__(self, folder: Path) -> None:
        self._first, self._news = (folder / "first").read_bytes(), (folder / "news").read_bytes()
        self._told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._told.set)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the one handler there is."""
        if handler_call_details.method != METHOD:
            return None
        return grpc.unary_stream_rpc_method_handler(self._watch)  # without serialisers messages are bytes

    async def _watch(self, *_: object) -> AsyncIterator[bytes]:
        yield self._first
        await self._told.wait()
        yield self._news


async def serve(folder: Path, port_file: Path) -> None:
    """Serve until the process is ended."""
    server = grpc.aio.server(handlers=[_Watch(folder)])
    key, chain, ca = ((folder / f"{name}.pem").read_bytes() for name in ("key", "chain", "ca"))
    credentials = grpc.ssl_server_credentials([(key, chain)], ca, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    written = port_file.with_suffix(".new")
    written.write_text(str(port), encoding="ascii")
    written.replace(port_file)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
