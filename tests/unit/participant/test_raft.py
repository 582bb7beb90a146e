"""RAFT: the numbers of the authors' own code for weights that follow from their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vdb_participant.data.video import Frames
from vdb_participant.measure.motion.raft import RaftFlow, RaftNetwork, network_of
from vdb_shared.errors import ModelError, StatisticError

PLACES = ((0, 0), (61, 70), (122, 133), (30, 100))


def made_up_weights() -> dict[str, torch.Tensor]:
    """Return tensors for all names of the large model, drawn in the order of their names."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name, tensor in sorted(RaftNetwork().state_dict().items()):
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.zeros((), dtype=torch.long)
            continue
        values = rng.normal(size=tuple(tensor.shape))
        if name.endswith("running_var"):
            values = 1 + 0.5 * np.tanh(values)
        elif tensor.ndim > 1:
            values *= 1.2 / np.sqrt(np.prod(tensor.shape[1:]))
        else:
            values *= 0.1
        tensors[name] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return tensors


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return made_up_weights()


def two_frames(height: int = 123, width: int = 134) -> Frames:
    return np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


def test_the_large_model_has_its_published_size() -> None:
    assert sum(parameter.numel() for parameter in RaftNetwork().parameters()) == 5_257_536


# Computed with the authors' code (github.com/princeton-vl/RAFT, core/raft.py, `test_mode`, padded and unpadded by its
# InputPadder), torch 2.13, with the weights above.
GOLDEN: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.21700, -0.16365), (-6.86466, -4.89302), (-2.67807, -0.89472), (-7.26930, -2.71642)),
    2: ((0.51622, -0.85021), (-15.62910, -10.43957), (-5.40585, -2.20033), (-15.28234, -5.57854)),
    4: ((1.88023, -3.78312), (-28.41839, -25.18042), (-10.30488, -6.54316), (-32.51575, -13.48343)),
}


@pytest.mark.parametrize("updates", GOLDEN)
def test_displacements_are_those_of_the_authors_code(updates: int, weights: dict[str, torch.Tensor]) -> None:
    flow = RaftFlow(network_of(weights), updates=updates)
    found = flow(*two_frames())
    assert found.shape == (123, 134, 2)
    assert found.dtype == np.float32
    for (row, column), expected in zip(PLACES, GOLDEN[updates], strict=True):
        np.testing.assert_allclose(found[row, column], expected, rtol=1e-4, atol=1e-3)


def test_published_files_load(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    published = {f"module.{name}": tensor for name, tensor in weights.items()}
    for name in list(published):
        if ".downsample.1." in name:
            published[name.replace("downsample.1", "norm3")] = published[name].clone()
    path = tmp_path / "raft.safetensors"
    save_file(published, path)
    loaded = RaftFlow.load(path, "cpu")
    loaded_once = RaftFlow(network_of(weights))(*two_frames(121, 128))
    np.testing.assert_array_equal(loaded(*two_frames(121, 128)), loaded_once)


def test_other_weights_are_refused(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    lacking = {name: tensor for name, tensor in weights.items() if name != "fnet.conv1.weight"}
    with pytest.raises(ModelError, match=r"large model: .*fnet\.conv1\.weight"):
        network_of(lacking)
    with pytest.raises(ModelError, match=r"large model: .*unknown\.weight"):
        network_of({**weights, "unknown.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"large model: .*size mismatch"):
        network_of({**weights, "fnet.conv1.weight": torch.zeros(64, 3, 5, 5)})
    path = tmp_path / "raft.safetensors"
    with pytest.raises(ModelError, match="expected the weights of RAFT as safetensors"):
        RaftFlow.load(path)
    path.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ModelError, match="expected the weights of RAFT as safetensors"):
        RaftFlow.load(path)


def test_small_frames_are_refused(weights: dict[str, torch.Tensor]) -> None:
    flow = RaftFlow(network_of(weights), updates=1)
    assert flow(*two_frames(121, 121)).shape == (121, 121, 2)
    with pytest.raises(StatisticError, match="at least 121x121 pixels, found 120x200"):
        flow(*two_frames(120, 200))
