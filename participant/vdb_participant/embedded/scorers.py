"""The embedded extractors: a CLIPModel that names shapes, colours and backgrounds, a VideoMAEModel that also sees motion.

Promises directories that `measure/extractors/` loads, and training through its very preprocessing. A frame shows no motion,
so the CLIPModel learns to read over it: motion is what the video encoder is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import CLIPConfig, CLIPModel, VideoMAEConfig, VideoMAEModel

from vdb_participant.embedded.denoiser import tokens_of
from vdb_participant.embedded.recipes import VIDEO_FEATURES, WORD_FEATURES, Recipe
from vdb_participant.embedded.scenes import BACKGROUNDS, COLOURS, FRAMES, PROPERTIES, SIZE, Scene, labels_of
from vdb_participant.embedded.training import Average, Clips, Log, Optimiser, generator
from vdb_participant.embedded.words import LONGEST, word_tokenizer
from vdb_participant.measure.extractors.projection import PROJECTION_NAME, projection_of
from vdb_participant.measure.extractors.video import pooled_features
from vdb_participant.measure.preprocessing import Preprocessing

SEEN_FRAMES: Final = 8
SMOOTHING: Final = 0.1
"""Of the labels, so that features of one kind lie together and those of broken clips between."""

GRAIN: Final = 0.06
"""Largest deviation of the noise that training adds to pixels in [-1, 1]: scores should not hang on a codec's traces."""


def new_clip() -> Any:
    """Return a CLIPModel with random weights."""
    tokenizer = word_tokenizer()
    tower = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    return CLIPModel(
        CLIPConfig(
            text_config=tower
            | {
                "num_hidden_layers": 2,
                "vocab_size": len(tokenizer),
                "max_position_embeddings": LONGEST,
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": tokenizer.pad_token_id,
                "eos_token_id": tokenizer.eos_token_id,
            },
            vision_config=tower | {"num_hidden_layers": 4, "image_size": SIZE, "patch_size": 4},
            projection_dim=WORD_FEATURES,
        )
    )


def train_clip(model: Any, clips: Clips, recipe: Recipe, device: str, log: Log) -> None:
    """Train single frames and captions to point the same way where they agree on all but motion."""
    draws = generator(recipe.seed)
    tokens = tokens_of(word_tokenizer(), [scene.caption for scene in clips.scenes])
    kinds = torch.tensor([_kind_without_motion(scene) for scene in clips.scenes])
    optimiser = Optimiser(model.parameters(), rate=recipe.rate, steps=recipe.steps)
    average = Average([model])
    for step in range(recipe.steps):
        places = torch.randint(len(kinds), (recipe.batch,), generator=draws)
        chosen = torch.randint(FRAMES, (recipe.batch,), generator=draws)
        pixels = _grained(clips.pixels(places, device)[torch.arange(recipe.batch), :, chosen], draws)
        words = tokens[places].to(device)
        found = model(input_ids=words, pixel_values=pixels, attention_mask=(words != 0).long())
        alike = (kinds[places][:, None] == kinds[places][None]).to(device, torch.float32)
        wanted = alike / alike.sum(dim=1, keepdim=True)
        loss = (cross_entropy(found.logits_per_image, wanted) + cross_entropy(found.logits_per_text, wanted)) / 2
        optimiser.step(loss)
        average.update()
        log.loss(step, loss)
    average.put()


@dataclass(frozen=True, slots=True)
class Classifier:
    """A video encoder with one linear head for each property of a scene; the package ships the encoder alone."""

    encoder: Any
    heads: nn.ModuleList

    def __call__(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits of each property, (B, number of values), of clips (B, T, 3, H, W) in [-1, 1]."""
        pooled = self.encoder(pixel_values=pixels).last_hidden_state.mean(dim=1)
        return [head(pooled) for head in self.heads]


def new_videomae(device: str) -> Classifier:
    """Return a VideoMAEModel and heads with random weights, on a device."""
    encoder = VideoMAEModel(
        VideoMAEConfig(
            image_size=SIZE,
            patch_size=8,
            num_frames=SEEN_FRAMES,
            tubelet_size=2,
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=4,
            num_attention_heads=4,
        )
    )
    heads = nn.ModuleList([nn.Linear(64, len(values)) for values in PROPERTIES])
    return Classifier(encoder.to(device), heads.to(device))


def train_videomae(model: Classifier, clips: Clips, recipe: Recipe, device: str, log: Log) -> None:
    """Train to name shape, colour, motion and background from the mean of the last hidden states."""
    draws = generator(recipe.seed)
    labels = torch.tensor([labels_of(scene) for scene in clips.scenes])
    optimiser = Optimiser(
        [*model.encoder.parameters(), *model.heads.parameters()], rate=recipe.rate, steps=recipe.steps
    )
    average = Average([model.encoder, model.heads])
    for step in range(recipe.steps):
        places = torch.randint(len(labels), (recipe.batch,), generator=draws)
        pixels = _grained(clips.pixels(places, device)[:, :, seen_frames()], draws).transpose(1, 2)
        wanted = labels[places].to(device)
        losses = [
            cross_entropy(logits, wanted[:, place], label_smoothing=SMOOTHING)
            for place, logits in enumerate(model(pixels))
        ]
        loss = torch.stack(losses).sum()
        optimiser.step(loss)
        average.update()
        log.loss(step, loss)
    average.put()


def seen_frames() -> list[int]:
    """Return which frames of a clip the encoder takes, as `pooled_features` does: the middles of equal parts."""
    return [(2 * part + 1) * FRAMES // (2 * SEEN_FRAMES) for part in range(SEEN_FRAMES)]


def write_projection(directory: Path, encoder: Any, clips: Clips) -> None:
    """Write the public projection of a video encoder's features: the principal axes over clips."""
    preprocessing = Preprocessing.load(directory)
    device = str(next(encoder.parameters()).device)
    features: NDArray[np.float64] = np.stack(
        [pooled_features(encoder, preprocessing, frames, device) for frames in clips.frames]
    )
    save_file(projection_of(features, VIDEO_FEATURES), directory / PROJECTION_NAME)


def _kind_without_motion(scene: Scene) -> int:
    shape, colour, _, background = labels_of(scene)
    return (shape * len(COLOURS) + colour) * len(BACKGROUNDS) + background


def _grained(pixels: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """Return pixels with noise of a deviation drawn for each item."""
    noise = torch.randn(pixels.shape, generator=draws)
    amount = GRAIN * torch.rand((len(pixels), *[1] * (pixels.ndim - 1)), generator=draws)
    return pixels + (noise * amount).to(pixels.device)
