"""What a coordinator's refusal says to programs."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status


def reason_of(error: grpc.RpcError) -> str:
    """Return the reason in an error's details."""
    status = rpc_status.from_call(error)
    info = ErrorInfo()
    assert status is not None, error
    assert status.details[0].Unpack(info)
    return str(info.reason)


def refused(call: Callable[[], object]) -> str:
    """Return the reason for which a call is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return reason_of(caught.value)
