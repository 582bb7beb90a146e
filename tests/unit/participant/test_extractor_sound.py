"""Sound: what the library hears in a second, and longer sounds without chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from scipy.signal import resample_poly

from testkit.tiny_extractors import RATE, clap, hearing, loaded_from, write_extractor
from vdb_participant.measure.extractors.interface import Waveform
from vdb_participant.measure.extractors.sound import SoundTextExtractor, mono
from vdb_shared.errors import StatisticError

PROMPT = "a dog barks"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_extractor(tmp_path_factory.mktemp("sound"), "ClapModel")


@pytest.fixture(scope="module")
def extractor(place: Path) -> SoundTextExtractor:
    return _loaded(place)


def _loaded(place: Path) -> SoundTextExtractor:
    loaded = loaded_from(place, "ClapModel")
    assert isinstance(loaded, SoundTextExtractor)
    return loaded


def _sound(seconds: float, pitch: float, channels: int = 1, rate: int = RATE) -> Waveform:
    times = np.arange(round(seconds * rate)) / rate
    draws = np.random.default_rng(4)
    tones = [np.sin(2 * np.pi * pitch * (1 + channel) * times) for channel in range(channels)]
    return np.asarray(0.4 * np.stack(tones) + 0.1 * draws.normal(size=(channels, len(times))), dtype=np.float32)


@torch.no_grad()
def _theirs(place: Path, samples: Any) -> Any:
    model = transformers.ClapModel.from_pretrained(place, local_files_only=True).eval()
    processor = transformers.ClapFeatureExtractor.from_pretrained(place, local_files_only=True)
    heard = processor(samples, sampling_rate=RATE, return_tensors="pt")
    heard["input_features"] = heard["input_features"].float()
    found = model.get_audio_features(**heard).pooler_output[0].double().numpy()
    return found / np.linalg.norm(found)


@pytest.mark.parametrize("seconds", [0.2, 0.999, 1.0])
@pytest.mark.parametrize("fusion", [False, True])
def test_a_short_sound_is_heard_as_the_library_hears_it(tmp_path: Path, seconds: float, fusion: bool) -> None:
    place = write_extractor(tmp_path, "ClapModel")
    torch.manual_seed(5)
    clap(fusion=fusion).eval().save_pretrained(place)
    hearing(fusion=fusion).save_pretrained(place)
    sound = _sound(seconds, 440)
    found = _loaded(place).embed_sound(sound, RATE)
    assert found.dtype == np.float64
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(found, _theirs(place, sound[0].astype(np.float64)), atol=1e-6)


def test_a_long_sound_is_the_mean_of_its_windows(place: Path, extractor: SoundTextExtractor) -> None:
    sound = np.concatenate([_sound(1, 300), _sound(1, 1200), _sound(0.25, 80)], axis=1)
    windows = [_theirs(place, sound[0, start : start + RATE].astype(np.float64)) for start in (0, RATE, 2 * RATE)]
    expected = windows[0] + windows[1] + 0.25 * windows[2]
    np.testing.assert_allclose(extractor.embed_sound(sound, RATE), expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_array_equal(extractor.embed_sound(sound, RATE), extractor.embed_sound(sound, RATE))


def test_sounds_differ(extractor: SoundTextExtractor) -> None:
    assert (
        np.abs(extractor.embed_sound(_sound(1, 90), RATE) - extractor.embed_sound(_sound(1, 2500), RATE)).max() > 1e-3
    )


def test_channels_are_averaged_and_rates_brought_together(extractor: SoundTextExtractor) -> None:
    sound = _sound(0.5, 500, channels=2, rate=24000)
    expected = resample_poly(sound.astype(np.float64).mean(axis=0), 1, 3)
    np.testing.assert_array_equal(mono(sound, 24000, RATE), expected)
    exact = expected[None].astype(np.float32)
    np.testing.assert_allclose(extractor.embed_sound(sound, 24000), extractor.embed_sound(exact, RATE), atol=1e-6)
    assert len(mono(_sound(1, 500, rate=44100), 44100, 48000)) == 48000


@pytest.mark.parametrize("sound", [np.zeros((1, 0), np.float32), np.zeros(8, np.float32)])
def test_no_sound_is_an_error(extractor: SoundTextExtractor, sound: Waveform) -> None:
    with pytest.raises(StatisticError, match="the clip must count as failed"):
        extractor.embed_sound(sound, RATE)


@torch.no_grad()
def test_words_are_the_librarys_and_cut_off(place: Path, extractor: SoundTextExtractor) -> None:
    model = transformers.ClapModel.from_pretrained(place, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=True)
    tokens = tokenizer(PROMPT, return_tensors="pt")
    theirs = model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    expected = theirs.pooler_output[0].double().numpy()
    np.testing.assert_allclose(extractor.embed_text(PROMPT), expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_array_equal(extractor.embed_text("x" * 40), extractor.embed_text("x" * 4000))
