"""Devices: named clearly, and exact arithmetic on all of them."""

from __future__ import annotations

import pytest
import torch

from vdb_participant.device import device_name, exact_arithmetic, resolve_device
from vdb_shared.errors import UsageError


def test_auto_takes_what_is_there() -> None:
    assert resolve_device() == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == "cpu"
    assert device_name("cpu").startswith("CPU ")


@pytest.mark.parametrize("wanted", ["gpu", "cuda:99", "mps", ""])
def test_other_devices_are_refused(wanted: str) -> None:
    with pytest.raises(UsageError, match=r"expected a device|CUDA devices"):
        resolve_device(wanted)


def test_exact_arithmetic_is_plain_float32_and_ends() -> None:
    before = torch.backends.cudnn.allow_tf32
    with exact_arithmetic():
        assert torch.is_inference_mode_enabled()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 == before
    assert not torch.is_inference_mode_enabled()
