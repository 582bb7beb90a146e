"""What is trained and for how long: the numbers of `train.py`.

Steps, not minutes, so that every machine trains the same models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CLIP: Final = "vdb-tiny-clip"
VIDEOMAE: Final = "vdb-tiny-videomae"

HEADS_NAME: Final = "heads.safetensors"
"""Beside the VideoMAEModel: the linear heads that name properties from its mean hidden state; no metric reads them."""

VIDEO_FEATURES: Final = 16
"""Dimension of the projected VideoMAE features: 4 shapes, 6 colours, 8 motions and 3 backgrounds differ in 17."""

WORD_FEATURES: Final = 64
"""Dimension of the CLIP's vectors."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a transformer is: heads of 32 channels, and layers."""

    heads: int
    layers: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training: its steps, clips of a step, highest learning rate, and seed of all that is drawn."""

    steps: int
    batch: int
    rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class Grade:
    """One of the graded pipelines; each has a learning rate schedule of its own, so that it is done when it stops."""

    name: str
    size: Size
    recipe: Recipe


GRADES: Final = (
    Grade("vdb-tiny-1", Size(heads=2, layers=3), Recipe(steps=80, batch=64, rate=0.003, seed=41)),
    Grade("vdb-tiny-2", Size(heads=3, layers=4), Recipe(steps=500, batch=64, rate=0.003, seed=42)),
    Grade("vdb-tiny-3", Size(heads=4, layers=5), Recipe(steps=2500, batch=64, rate=0.003, seed=43)),
)
"""From the worst to the best."""


@dataclass(frozen=True, slots=True)
class Recipes:
    """All trainings.

    Attributes:
        clips: rendered clips that every part is trained on.
        public: other clips, from which the axes of the video features are computed.
        judged: prompts by which the cards' figures are measured.
        seed: of all initial weights.
        autoencoder, decoder, videomae, clip: of these parts; the decoder is trained on when the latents are fixed.
        shortest: steps of a pipeline are cut to so many; None for all.
    """

    clips: int = 8_000
    public: int = 1_000
    judged: int = 64
    seed: int = 31
    autoencoder: Recipe = Recipe(steps=900, batch=8, rate=0.004, seed=32)
    decoder: Recipe = Recipe(steps=900, batch=8, rate=0.003, seed=35)
    videomae: Recipe = Recipe(steps=1600, batch=32, rate=0.003, seed=33)
    clip: Recipe = Recipe(steps=700, batch=48, rate=0.003, seed=34)
    shortest: int | None = None

    def denoiser(self, grade: Grade) -> Recipe:
        """Return the recipe of a pipeline."""
        recipe = grade.recipe
        if self.shortest is None:
            return recipe
        return Recipe(self.shortest, self.shortest, recipe.rate, recipe.seed)


_FEW: Final = Recipe(steps=2, batch=2, rate=0.001, seed=1)

QUICK: Final = Recipes(
    clips=32, public=24, judged=4, autoencoder=_FEW, decoder=_FEW, videomae=_FEW, clip=_FEW, shortest=2
)
"""Enough to run every line."""
