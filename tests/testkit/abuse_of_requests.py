"""What members do to a server with requests that cost more than they weigh, and with answers that they do not take.

As in `testkit.abuse`, which lists all attacks.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Final

import grpc

from testkit.coordinator import CALL, Identity, secure_channel
from testkit.raw_http2 import RawPeer

CHECKING: Final = "/grpc.health.v1.Health/Check"
SHARING: Final = "/vdb.v1.AggregationService/ShareKeys"


def empty_messages(address: str, identity: Identity) -> str:
    """Send requests that are lists of two million messages of two bytes."""
    refused = 0
    chain = identity.certificate_chain
    with secure_channel(address, identity.ca_certificate, identity.tls_key, chain) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SHARING)
        for _ in range(20):
            try:
                method(b"\x1a\0" * 2 * 2**20, timeout=CALL)
            except grpc.RpcError as error:
                refused += error.code() is grpc.StatusCode.INVALID_ARGUMENT
    return f"{refused} of 20 refused"


def stalled_answers(address: str, identity: Identity) -> str:
    """Make 500 calls and take no byte of any answer: what is answered at once, and of that only the headers, are refusals."""
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(address, identity, takes_answers=False)) for _ in range(5)]
        for peer in peers:
            for number in range(100):
                peer.request(2 * number + 1, CHECKING)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            for peer in peers:
                peer.listen(0.1)
        return f"{sum(len(peer.answered) for peer in peers)} of 500 answered"
