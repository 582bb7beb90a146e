"""A model of sound and words in one space: ClapModel.

Promises that nothing is drawn at random, where the library cuts long sounds at random places: a sound is heard in
windows of the model's length one after the other, and stands as the mean of their unit vectors, weighted by their
lengths and divided by its length. A short window is repeated as the library does it.

Source: Wu et al., ICASSP 2023 (LAION-CLAP).
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vdb_participant.measure.extractors.computing import Computing, unit
from vdb_participant.measure.extractors.interface import Description, Precision, Vector, Waveform
from vdb_participant.measure.extractors.loading import attempt, load_model, load_tokenizer
from vdb_participant.measure.extractors.projection import check_dimension
from vdb_participant.models import Weights
from vdb_shared.errors import StatisticError
from vdb_shared.spec import Extractor


class SoundTextExtractor:
    """A ClapModel; implements SoundEmbedder and TextEmbedder."""

    def __init__(
        self, description: Description, computing: Computing, model: Any, tokenizer: Any, hearing: Any
    ) -> None:
        self.description = description
        self._computing = computing
        self._model = model
        self._tokenizer = tokenizer
        self._hearing = hearing

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> SoundTextExtractor:
        """Return the extractor of a verified directory, whose preprocessor_config.json is a ClapFeatureExtractor's.

        Raises:
            ModelError: it cannot be loaded or has another dimension than the spec says.
        """
        computing = Computing.on(device, precision)
        model = load_model("ClapModel", weights.directory, computing.device)
        check_dimension(weights.directory, int(model.config.projection_dim), extractor.dimension)
        kind = import_module("transformers").ClapFeatureExtractor
        hearing: Any = attempt(
            weights.directory, lambda: kind.from_pretrained(weights.directory, local_files_only=True)
        )
        silence = np.zeros(1000, dtype=np.float64)  # constants that do not fit show now, and not at the first clip
        attempt(weights.directory, lambda: hearing(silence, sampling_rate=hearing.sampling_rate))
        tokenizer = load_tokenizer(weights.directory)
        return cls(computing.describe(weights, extractor), computing, model, tokenizer, hearing)

    def embed_sound(self, waveform: Waveform, rate: int) -> Vector:
        """Return the unit vector of sound, float64 (D,); NaN where it has no direction.

        Args:
            waveform: float32 (channels, samples) in [-1, 1].
            rate: its samples per second.

        Raises:
            StatisticError: there are no samples; the clip must count as failed.
        """
        samples = mono(waveform, rate, int(self._hearing.sampling_rate))
        length = int(self._hearing.nb_max_samples)
        windows = [samples[start : start + length] for start in range(0, len(samples), length)]
        total = sum(len(window) * self._embed(window) for window in windows)
        return np.asarray(total / np.linalg.norm(total), dtype=np.float64)

    def embed_text(self, text: str) -> Vector:
        """Return the unit vector of words, float64 (D,); words beyond the model's length are cut off."""
        known = self._model.config.text_config
        longest = (
            int(known.max_position_embeddings) - int(known.pad_token_id) - 1
        )  # places begin behind the padding's number
        tokens = self._tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        given = {name: tokens[name].to(self._computing.device) for name in ("input_ids", "attention_mask")}
        with self._computing.arithmetic():
            output = self._model.get_text_features(**given)
        return np.asarray(unit(output.pooler_output)[0], dtype=np.float64)

    def _embed(self, window: NDArray[np.float64]) -> Vector:
        """Return the unit vector of a window that is not longer than the model hears at once."""
        heard = self._hearing(window, sampling_rate=int(self._hearing.sampling_rate), return_tensors="pt")
        given = {name: value.to(self._computing.device) for name, value in heard.items()}
        given["input_features"] = given["input_features"].float()
        with self._computing.arithmetic():
            output = self._model.get_audio_features(**given)
        return np.asarray(unit(output.pooler_output)[0], dtype=np.float64)


def mono(waveform: Waveform, rate: int, wanted: int) -> NDArray[np.float64]:
    """Return the mean of all channels, resampled by a polyphase filter: float64 (samples,).

    Args:
        waveform: (channels, samples).
        rate: samples per second, before.
        wanted: samples per second, after.

    Raises:
        StatisticError: there are no samples; the clip must count as failed.
    """
    if waveform.ndim != 2 or waveform.size == 0:
        raise StatisticError(
            f"expected sound of (channels, samples), found {waveform.shape}; the clip must count as failed"
        )
    samples = waveform.astype(np.float64).mean(axis=0)
    common = math.gcd(rate, wanted)
    if rate == wanted:
        return np.asarray(samples, dtype=np.float64)
    from scipy.signal import resample_poly  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    return np.asarray(resample_poly(samples, wanted // common, rate // common), dtype=np.float64)
