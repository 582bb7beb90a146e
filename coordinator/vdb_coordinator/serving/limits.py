"""What the transport grants to peers: of whom nothing is known yet, or whose certificate is all that is known.

Promises that connections, streams, messages, metadata and the time of a handshake have bounds, that nothing is decompressed,
and that a peer which only pings is disconnected. Leaves what a known caller may take to `service/quotas.py`.

Source: protos/README.md §11.7; gRPC core, `grpc/impl/channel_arg_names.h`; RFC 9113, §10.5.
"""

from __future__ import annotations

import resource
from typing import Final

from vdb_shared.wire import convert

MAX_CONNECTIONS: Final = 4096
MAX_STREAMS: Final = 100
"""Calls on one connection; an agent has three."""

MAX_METADATA_BYTES: Final = 16 * 2**10
UNREAD_BYTES: Final = 128 * 2**10
"""Of one stream that lie here before its message is asked for; one that is asked for may come whole. Without a bound of our own
the library lets windows grow to megabytes for each stream."""

HANDSHAKE_SECONDS: Final = 5
IDLE_SECONDS: Final = 5 * 60
"""After so long a connection without a call is closed; clients open another one when they need it."""

MAX_CALLS: Final = 8192
"""Calls of all callers at once: far more than those of which a few callers can have most (`service/quotas.py`)."""

DESCRIPTORS: Final = 2 * MAX_CONNECTIONS

OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", convert.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", convert.MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", UNREAD_BYTES),
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_age_ms", 15 * 60_000),
    ("grpc.max_connection_age_grace_ms", 5 * 60_000),
    ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
)
"""Without so_reuseport=0 a second server would share the port in silence. Connections age so that roles are looked at anew. Of
the compression algorithms only "identity" is left, so that a small message cannot become a large one."""


def allow_descriptors() -> None:
    """Let this process open as many files as its connections need, as far as the system allows: many begin with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
