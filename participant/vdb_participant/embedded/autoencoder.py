"""The autoencoder of the embedded pipelines: an `AutoencoderKLWan` of 2 frames and 4 x 4 pixels a latent cell.

Promises latents of mean 0 and deviation 1 by the constants in its configuration, as `WanPipeline` undoes them.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from torch import nn

from vdb_participant.embedded.recipes import Recipe
from vdb_participant.embedded.training import Average, Clips, Log, Optimiser, generator

LATENT_CHANNELS: Final = 8
WIDTH: Final = 20
PATCH: Final = 2
NOISE: Final = 0.05
"""Deviation of what is added to latents in training, so that a pipeline's small errors stay small."""

SIZE_WEIGHT: Final = 1e-4
"""Keeps latents from growing to drown that noise."""

FOREGROUND_WEIGHT: Final = 4.0
"""A shape covers a fifth of the picture, but is what a clip is about."""


def new_autoencoder() -> Any:
    """Return an autoencoder with random weights."""
    pixels = 3 * PATCH**2
    model = AutoencoderKLWan(
        base_dim=WIDTH,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[True],  # the library's spelling
        patch_size=PATCH,
        in_channels=pixels,
        out_channels=pixels,
        z_dim=LATENT_CHANNELS,
        scale_factor_spatial=2 * PATCH,
        scale_factor_temporal=2,
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )
    _start_as_a_map_of_cells(model)
    return model


@torch.no_grad()
def _start_as_a_map_of_cells(model: Any) -> None:
    """Set weights with which latents tell of their own cell: residual branches shut, other kernels nearly one tap wide.

    With the library's own, biases drown what a cell shows, and training gives back empty backgrounds for hundreds of steps.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Conv3d):
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if name.endswith(("conv2", "proj")):
            nn.init.zeros_(module.weight)
        elif module.kernel_size == (3, 3, 3):
            centre = torch.empty(module.weight.shape[:2])
            nn.init.orthogonal_(centre)
            module.weight.mul_(0.1)
            module.weight[:, :, -1, 1, 1] = centre
        else:
            nn.init.orthogonal_(module.weight)


def train_autoencoder(model: Any, clips: Clips, recipe: Recipe, device: str, log: Log) -> None:
    """Train to give clips back through its latents."""
    draws = generator(recipe.seed)
    optimiser = Optimiser(model.parameters(), rate=recipe.rate, steps=recipe.steps)
    average = Average([model])
    for step in range(recipe.steps):
        pixels = clips.pixels(torch.randint(len(clips.scenes), (recipe.batch,), generator=draws), device)
        latents = model.encode(pixels).latent_dist.mean
        noise = torch.randn(latents.shape, generator=draws).to(device)
        found = decode_unclamped(model, latents + NOISE * noise)
        # Not the absolute error: its best guess where a shape may be is the background.
        error = (found - pixels).square()
        loss = (error * _weights(pixels)).mean() + SIZE_WEIGHT * latents.square().mean()
        optimiser.step(loss)
        average.update()
        log.loss(step, loss)
    average.put()


def sharpen_decoder(model: Any, clips: Clips, latents: torch.Tensor, recipe: Recipe, device: str, log: Log) -> None:
    """Train the decoder alone for longer; latents, and with them all denoisers, stay as they are.

    Args:
        model: a trained autoencoder.
        clips: to train on.
        latents: of these clips, (N, C, T, H, W), not normalised.
        recipe: how long and how fast.
        device: of the model.
        log: told of progress.
    """
    draws = generator(recipe.seed)
    parameters = [*model.decoder.parameters(), *model.post_quant_conv.parameters()]
    optimiser = Optimiser(parameters, rate=recipe.rate, steps=recipe.steps)
    average = Average([model.decoder, model.post_quant_conv])
    for step in range(recipe.steps):
        places = torch.randint(len(latents), (recipe.batch,), generator=draws)
        pixels = clips.pixels(places, device)
        noise = torch.randn((recipe.batch, *latents.shape[1:]), generator=draws)
        found = decode_unclamped(model, (latents[places] + NOISE * noise).to(device))
        loss = ((found - pixels).square() * _weights(pixels)).mean()
        optimiser.step(loss)
        average.update()
        log.loss(step, loss)
    average.put()


def decode_unclamped(model: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return what `decode` returns before it clamps to [-1, 1], where errors would have no gradient."""
    model.clear_cache()
    inner = model.post_quant_conv(latents)
    parts = []
    for frame in range(inner.shape[2]):
        model._conv_idx = [0]
        parts.append(
            model.decoder(
                inner[:, :, frame : frame + 1],
                feat_cache=model._feat_map,
                feat_idx=model._conv_idx,
                first_chunk=frame == 0,
            )
        )
    model.clear_cache()
    return torch.as_tensor(unpatchify(torch.cat(parts, 2), patch_size=model.config.patch_size))


def _weights(pixels: torch.Tensor) -> torch.Tensor:
    """Return a weight for each pixel, (B, 1, T, H, W): more where the colour is not that of the frame's corners."""
    corners = pixels[..., :: pixels.shape[-2] - 1, :: pixels.shape[-1] - 1]
    backdrop = corners.flatten(3).median(dim=3).values[..., None, None]
    return 1 + FOREGROUND_WEIGHT * ((pixels - backdrop).abs().amax(dim=1, keepdim=True) > 0.3)


def noise_ratio(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the peak signal-to-noise ratio of values in [-1, 1], in dB."""
    return float(10 * torch.log10(4 / (found.clamp(-1, 1) - wanted).square().mean()))
