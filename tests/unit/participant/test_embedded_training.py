"""The training command, with a few steps of everything: what it writes loads, and what is there is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vdb_participant.embedded.quality import generated, load_pipeline
from vdb_participant.embedded.recipes import CLIP, GRADES, VIDEOMAE
from vdb_participant.embedded.scenes import FRAMES, SIZE
from vdb_participant.embedded.train import main
from vdb_participant.embedded.training import Average, Clips, Optimiser, schedule
from vdb_participant.embedded.words import LONGEST, word_tokenizer
from vdb_participant.models import manifest_digest


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("embedded")
    assert main([str(out), "--quick"]) == 0
    return out


def test_every_model_is_written_with_a_card(quick: Path) -> None:
    for name in (*(grade.name for grade in GRADES), CLIP, VIDEOMAE):
        assert (quick / name / "README.md").is_file()
    clips, _ = generated(load_pipeline(GRADES[0].name, quick), ["a red circle moving left"], seed=1)
    assert clips[0].shape == (FRAMES, SIZE, SIZE, 3)


def test_what_is_there_is_not_trained_again(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = manifest_digest(quick / CLIP)
    assert main([str(quick), "--quick", "--part", CLIP]) == 0
    assert capsys.readouterr().out == f"{CLIP}: is there\n"
    assert manifest_digest(quick / CLIP) == before


def test_the_same_seed_gives_the_same_weights(quick: Path, tmp_path: Path) -> None:
    assert main([str(tmp_path), "--quick", "--part", VIDEOMAE]) == 0
    name = "model.safetensors"
    assert (tmp_path / VIDEOMAE / name).read_bytes() == (quick / VIDEOMAE / name).read_bytes()


def test_an_unknown_part_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), "--part", "vdb-tiny-9"])
    assert stop.value.code == 2


def test_training_clips_leave_the_held_out_combinations_out() -> None:
    assert not any(scene.held_out for scene in Clips.rendered("test", 60).scenes)
    assert all(scene.held_out for scene in Clips.rendered("test", 20, held_out=True).scenes)


def test_the_tokenizer_has_a_word_for_every_word_of_a_caption() -> None:
    tokenizer = word_tokenizer()
    ids = tokenizer("a red circle moving left on a dark background")["input_ids"]
    assert len(ids) == 10 <= LONGEST
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in ids
    assert tokenizer("A Red zebra")["input_ids"] == [
        *tokenizer("a red")["input_ids"][:2],
        tokenizer.unk_token_id,
        tokenizer.eos_token_id,
    ]
    assert tokenizer("")["input_ids"] == [tokenizer.eos_token_id]


def test_the_schedule_rises_and_falls_to_nothing() -> None:
    rates = [schedule(step, 1000) for step in range(1000)]
    assert rates[0] < 0.05
    assert max(rates) > 0.99
    assert rates[-1] < 1e-5


def test_the_optimiser_fits_a_linear_map_and_the_average_follows() -> None:
    torch.manual_seed(0)
    wanted, model = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)
    optimiser, average = Optimiser(model.parameters(), rate=0.05, steps=200), Average([model], decay=0.9)
    for _ in range(200):
        given = torch.randn(32, 6)
        optimiser.step((model(given) - wanted(given)).square().mean())
        average.update()
    average.put()
    np.testing.assert_allclose(model.weight.detach().numpy(), wanted.weight.detach().numpy(), atol=0.05)


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = GRADES[0].name
    for words, problem in (
        ([str(tmp_path / "new"), "--quick", "--part", name], f"error: {name}: needs the autoencoder, which is not in "),
        ([str(tmp_path / "new"), "--quick", "--device", "tpu"], "error: "),
        ([__file__, "--quick"], "error: "),
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(problem)
