"""The text-to-video part of the embedded pipelines: a UMT5 text encoder and a Wan transformer, trained together.

Promises what `WanPipeline` does with them at inference: prompts padded with zeros to the tokenizer's length, timesteps on a
scale of 1000, the velocity of a straight path from data to noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from diffusers import WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from vdb_participant.embedded.autoencoder import LATENT_CHANNELS
from vdb_participant.embedded.recipes import Recipe, Size
from vdb_participant.embedded.training import Average, Log, Optimiser, generator
from vdb_participant.embedded.words import LONGEST

TEXT_WIDTH: Final = 64
SHIFT: Final = 3.0
"""Of the scheduler, and of the noise levels that training sees."""

ROUNDS: Final = 3
"""Of Muon: with five, as usual, its steps cost such small models more than all else."""

UNCONDITIONAL: Final = 0.1
"""Share of captions left empty, for guidance."""


def new_text_encoder(tokens: int) -> Any:
    """Return a text encoder with random weights for a vocabulary of so many tokens."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=tokens,
            d_model=TEXT_WIDTH,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=16,
            dropout_rate=0.0,
        )
    )


def new_transformer(size: Size) -> Any:
    """Return a transformer with random weights; 2 x 2 latent cells are a token."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=size.heads,
        attention_head_dim=32,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=96 * size.heads,
        num_layers=size.layers,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )


def embedded_prompts(text_encoder: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return prompts as `WanPipeline` gives them to the transformer: (B, LONGEST, D), zeros behind the end.

    Args:
        text_encoder: the UMT5 encoder.
        tokens: int64 (B, LONGEST), 0 behind the end.
    """
    seen = tokens != 0
    hidden = text_encoder(tokens, seen.long()).last_hidden_state
    return torch.as_tensor(hidden * seen[..., None])


def tokens_of(tokenizer: Any, captions: Sequence[str]) -> torch.Tensor:
    """Return the tokens of captions, int64 (N, LONGEST), padded with 0."""
    found = tokenizer(list(captions), padding="max_length", max_length=LONGEST, truncation=True, return_tensors="pt")
    return torch.as_tensor(found["input_ids"])


def noise_levels(count: int, draws: torch.Generator) -> torch.Tensor:
    """Return noise levels in (0, 1) as training sees them: logit-normal, then shifted as the scheduler shifts its own.

    Source: Esser et al. 2024, §3.1 and §5.3.2.
    """
    sigma = torch.sigmoid(torch.randn(count, generator=draws))
    return SHIFT * sigma / (1 + (SHIFT - 1) * sigma)


def train_denoiser(
    text_encoder: Any,
    transformer: Any,
    latents: torch.Tensor,
    tokens: torch.Tensor,
    recipe: Recipe,
    log: Log,
) -> None:
    """Train both parts to point from noise to latents.

    Args:
        text_encoder: trained too.
        transformer: trained.
        latents: (N, C, T, H, W), mean 0 and deviation 1.
        tokens: of the captions, (N, LONGEST).
        recipe: how long and how fast.
        log: told of progress.
    """
    draws = generator(recipe.seed)
    device, batch = latents.device, recipe.batch
    empty = torch.zeros(LONGEST, dtype=torch.int64)
    empty[0] = text_encoder.config.eos_token_id
    optimiser = Optimiser(
        [*text_encoder.parameters(), *transformer.parameters()], rate=recipe.rate, steps=recipe.steps, rounds=ROUNDS
    )
    average = Average([text_encoder, transformer])
    for step in range(recipe.steps):
        places = torch.randint(len(latents), (batch,), generator=draws)
        sigma = noise_levels(batch, draws).to(device)
        noise = torch.randn((batch, *latents.shape[1:]), generator=draws).to(device)
        without = torch.rand(batch, generator=draws) < UNCONDITIONAL
        words = torch.where(without[:, None], empty, tokens[places]).to(device)
        clean = latents[places.to(device)]
        level = sigma[:, None, None, None, None]
        found = transformer(
            hidden_states=(1 - level) * clean + level * noise,
            timestep=1000 * sigma,
            encoder_hidden_states=embedded_prompts(text_encoder, words),
            return_dict=False,
        )[0]
        loss = torch.nn.functional.mse_loss(found, noise - clean)
        optimiser.step(loss)
        average.update()
        log.loss(step, loss)
    average.put()
