"""Train the embedded models from nothing: an autoencoder, three graded text-to-video pipelines, a CLIP and a VideoMAE.

Promises the same weights for the same library versions, device and number of threads, and that a part that stands in OUT is
not trained again. Nothing is downloaded: the clips are rendered.

    python -m vdb_participant.embedded.train OUT [--part NAME …] [--device cpu|cuda|auto] [--quick]

Parts may run side by side, but for this order: `autoencoder`, `decoder`, the three pipelines, and `cards` at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file, save_file
from transformers.utils import logging as transformers_logging

from vdb_participant.device import resolve_device
from vdb_participant.embedded.autoencoder import new_autoencoder, noise_ratio, sharpen_decoder, train_autoencoder
from vdb_participant.embedded.cards import write_cards
from vdb_participant.embedded.denoiser import SHIFT, new_text_encoder, new_transformer, tokens_of, train_denoiser
from vdb_participant.embedded.recipes import CLIP, GRADES, HEADS_NAME, QUICK, VIDEOMAE, Grade, Recipes
from vdb_participant.embedded.scorers import (
    new_clip,
    new_videomae,
    train_clip,
    train_videomae,
    write_projection,
)
from vdb_participant.embedded.training import Clips, Log, drawn_scenes
from vdb_participant.embedded.words import word_tokenizer
from vdb_participant.synthetic.models import write_preprocessing
from vdb_shared.errors import UsageError, VdbError

PARTS: Final = ("autoencoder", "decoder", VIDEOMAE, CLIP, *(grade.name for grade in GRADES), "cards")

_NEEDS: Final = {"decoder": ("autoencoder",)} | {grade.name: ("autoencoder", "decoder") for grade in GRADES}

WORK: Final = "work"
"""Folder in OUT of what is not shipped: the autoencoder in float32, the clips' latents, minutes and figures."""

LATENTS_NAME: Final = "latents.safetensors"

TRAINING: Final = "train"
"""Name, and so seed, of the clips that all parts are trained on."""

_ENCODED_AT_ONCE: Final = 100


class Workshop:
    """Trains parts into a folder."""

    def __init__(self, out: Path, device: str, recipes: Recipes) -> None:
        self.out, self.device, self.recipes = out, device, recipes
        self.work = out / WORK
        self.work.mkdir(parents=True, exist_ok=True)
        self._clips: Clips | None = None

    @property
    def clips(self) -> Clips:
        """The clips that all parts are trained on, rendered when they are first needed."""
        if self._clips is None:
            log = Log("clips", 1)
            self._clips = Clips.rendered(TRAINING, self.recipes.clips)
            log.say(f"{self.recipes.clips} rendered")
        return self._clips

    def make(self, part: str) -> None:
        """Train a part, unless it is there."""
        note = self.work / f"{part}.json"
        if note.exists():
            print(f"{part}: is there")  # noqa: T201 (a command's progress)
            return
        for needed in _NEEDS.get(part, ()):
            if not (self.work / f"{needed}.json").exists():
                raise UsageError(f"{part}: needs the {needed}, which is not in {self.out} yet; train it first")
        torch.manual_seed(self.recipes.seed)
        log = Log(part, 1)
        match part:
            case "autoencoder":
                found = self._autoencoder()
            case "decoder":
                found = self._decoder()
            case "vdb-tiny-videomae":
                found = self._videomae()
            case "vdb-tiny-clip":
                found = self._clip()
            case _:
                found = self._pipeline(next(grade for grade in GRADES if grade.name == part))
        found["minutes"] = round(log.seconds / 60, 1)
        note.write_text(json.dumps(found) + "\n", encoding="utf-8")
        log.say("done")

    def _autoencoder(self) -> dict[str, Any]:
        recipe = self.recipes.autoencoder
        model = new_autoencoder().to(self.device)
        log = Log("autoencoder", recipe.steps)
        train_autoencoder(model, self.clips, recipe, self.device, log)
        latents = self._encoded(model)
        dims = (0, 2, 3, 4)
        mean, deviation = latents.mean(dim=dims), latents.std(dim=dims)
        model.register_to_config(latents_mean=mean.tolist(), latents_std=deviation.tolist())
        model.save_pretrained(self.work / "autoencoder")
        save_file({"latents": latents}, self.work / LATENTS_NAME)
        return {"decibels": self._noise_ratio(model, log)}

    def _decoder(self) -> dict[str, Any]:
        recipe = self.recipes.decoder
        model = AutoencoderKLWan.from_pretrained(self.work / "autoencoder", local_files_only=True).to(self.device)
        latents = load_file(self.work / LATENTS_NAME)["latents"]
        log = Log("decoder", recipe.steps)
        sharpen_decoder(model, self.clips, latents, recipe, self.device, log)
        model.save_pretrained(self.work / "decoder")
        return {"decibels": self._noise_ratio(model, log)}

    @torch.no_grad()
    def _noise_ratio(self, model: Any, log: Log) -> float:
        """Return how well clips of held-out combinations come back, in dB."""
        fresh = Clips.rendered("fresh", min(256, self.recipes.clips), held_out=True)
        pixels = fresh.pixels(torch.arange(len(fresh.scenes)), self.device)
        ratio = noise_ratio(model.decode(model.encode(pixels).latent_dist.mean).sample, pixels)
        log.say(f"{ratio:.1f} dB on combinations held out")
        return round(ratio, 1)

    @torch.no_grad()
    def _encoded(self, model: Any) -> torch.Tensor:
        """Return the latents of all clips, (N, C, T, H, W), not normalised, on the CPU."""
        places = torch.tensor_split(
            torch.arange(len(self.clips.scenes)), max(1, len(self.clips.scenes) // _ENCODED_AT_ONCE)
        )
        return torch.cat([model.encode(self.clips.pixels(some, self.device)).latent_dist.mean.cpu() for some in places])

    def _pipeline(self, grade: Grade) -> dict[str, Any]:
        config = AutoencoderKLWan.load_config(self.work / "autoencoder", local_files_only=True)
        latents = load_file(self.work / LATENTS_NAME)["latents"].to(self.device)
        mean, deviation = (
            torch.tensor(values, device=self.device).view(1, -1, 1, 1, 1)
            for values in (config["latents_mean"], config["latents_std"])
        )
        tokenizer = word_tokenizer()
        text_encoder = new_text_encoder(len(tokenizer)).to(self.device)
        transformer = new_transformer(grade.size).to(self.device)
        tokens = tokens_of(tokenizer, [scene.caption for scene in drawn_scenes(TRAINING, self.recipes.clips)])
        recipe = self.recipes.denoiser(grade)
        log = Log(grade.name, recipe.steps)
        train_denoiser(text_encoder, transformer, (latents - mean) / deviation, tokens, recipe, log)
        pipeline = WanPipeline(
            tokenizer=tokenizer,
            text_encoder=text_encoder.cpu().half().eval(),
            vae=self._shipped_autoencoder().half().eval(),
            transformer=transformer.cpu().half().eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        )
        pipeline.save_pretrained(self.out / grade.name, safe_serialization=True)
        return {"steps": recipe.steps, "batch": recipe.batch}

    def _shipped_autoencoder(self) -> Any:
        model = AutoencoderKLWan.from_pretrained(self.work / "decoder", local_files_only=True)
        model.register_to_config(_name_or_path="")  # where it was trained is nobody's business
        return model

    def _clip(self) -> dict[str, Any]:
        recipe = self.recipes.clip
        model = new_clip().to(self.device)
        train_clip(model, self.clips, recipe, self.device, Log(CLIP, recipe.steps))
        model.cpu().half().save_pretrained(self.out / CLIP)
        word_tokenizer().save_pretrained(self.out / CLIP)
        write_preprocessing(self.out / CLIP)
        return {"steps": recipe.steps, "batch": recipe.batch}

    def _videomae(self) -> dict[str, Any]:
        recipe = self.recipes.videomae
        model = new_videomae(self.device)
        train_videomae(model, self.clips, recipe, self.device, Log(VIDEOMAE, recipe.steps))
        encoder = model.encoder.cpu().half()
        encoder.save_pretrained(self.out / VIDEOMAE)
        write_preprocessing(self.out / VIDEOMAE)
        public = Clips.rendered("public", self.recipes.public)
        write_projection(self.out / VIDEOMAE, encoder.float(), public)
        heads = {name: value.detach().cpu() for name, value in model.heads.state_dict().items()}
        save_file(heads, self.out / VIDEOMAE / HEADS_NAME)
        return {"steps": recipe.steps, "batch": recipe.batch}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the parts that are asked for; return the exit code."""
    parser = argparse.ArgumentParser(description="Train the embedded models; see the module's first lines.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the models; finished parts in it are kept")
    parser.add_argument("--part", choices=PARTS, action="append", metavar="NAME", help=f"one of {', '.join(PARTS)}")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--quick", action="store_true", help="a few steps each, to see that all runs; no usable models")
    chosen = parser.parse_args(arguments)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    # One thread for each training: sums do not depend on the number of cores, and two run side by side.
    torch.set_num_threads(1)
    try:
        workshop = Workshop(chosen.out, resolve_device(chosen.device), QUICK if chosen.quick else Recipes())
        for part in chosen.part or PARTS:
            if part == "cards":
                write_cards(chosen.out, workshop.work, prompts=workshop.recipes.judged)
            else:
                workshop.make(part)
    except (VdbError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 (a command's last words)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
