"""The lead's calls state which version of the protocol they speak.

Source: protos/README.md §11.9; gRPC Python, grpc.ClientCallDetails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from vdb_shared.wire.versions import METADATA


class _Details(NamedTuple):
    """A call as gRPC describes it to interceptors, by these names."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Stating(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Adds the version to every call."""

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        """Make a call with one answer."""
        return continuation(_stated(client_call_details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        """Make a call with many answers."""
        return continuation(_stated(client_call_details), request)


def stating(channel: grpc.Channel) -> grpc.Channel:
    """Return a channel whose calls state the version."""
    return grpc.intercept_channel(channel, _Stating())


def _stated(details: Any) -> _Details:
    metadata = (*(details.metadata or ()), *METADATA)
    return _Details(
        details.method,
        details.timeout,
        metadata,
        details.credentials,
        getattr(details, "wait_for_ready", None),
        getattr(details, "compression", None),
    )
