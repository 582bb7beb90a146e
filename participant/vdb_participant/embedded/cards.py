"""Model cards of the embedded models: README.md in each folder.

Promises that a card names the SHA-256 digest of every weights file beside it, and figures that were measured, not typed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vdb_participant.embedded.quality import GUIDANCE, STEPS, Quality, Scorers, measured_quality, scorer_quality
from vdb_participant.embedded.recipes import CLIP, GRADES, VIDEOMAE

CARD_NAME: Final = "README.md"

_HEAD: Final = """\
---
license: apache-2.0
library_name: {library}
pipeline_tag: {tag}
tags: [self-test, synthetic]
---
# {name}

{what}

**What it is not.** A model of real video, or a judge of one. It knows coloured shapes of 32 x 32 pixels and nothing else. It is
a self-test: with it a benchmark can be tried end to end without a download or a GPU, with a result known beforehand.
"""

_DATA: Final = """
## Data

Clips rendered by `vdb_participant.embedded.scenes`: 4 shapes x 6 colours x 8 motions x 3 backgrounds, {frames}, for
instance "a red circle moving left on a dark background". Place, size, speed, angle and shades vary without words. One
combination of shape, colour and motion in twelve was kept from training. No real picture and no file from elsewhere is in it.
"""

_TRAINING: Final = """
## Training

`python -m vdb_participant.embedded.train OUT` makes all embedded models from nothing, seeded; this one alone with
`--part {name}`{after}.
{how}
It took {minutes:.1f} minutes on one thread of a {machine} that other work shared. The same library versions on the
same sort of processor give the same weights; others give weights as good.
"""

_PIPELINES: Final = {
    "vdb-tiny-1": "the worst of three: small and hardly trained",
    "vdb-tiny-2": "the middle one of three",
    "vdb-tiny-3": "the best of three",
}


def write_cards(out: Path, work: Path, *, prompts: int) -> None:
    """Write a card beside every model of a folder.

    Args:
        out: folder of the models.
        work: folder of the notes that the trainings left.
        prompts: by how many prompts the figures are measured.
    """
    notes = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in work.glob("*.json")}
    scorers = Scorers.load(out)
    for grade in GRADES:
        quality = measured_quality(grade.name, scorers, folder=out, prompts=prompts)
        _write(out / grade.name, _pipeline_card(grade.name, notes, quality, prompts))
    shares, scores = scorer_quality(scorers, prompts)
    _write(out / CLIP, _clip_card(notes[CLIP], scores, prompts))
    _write(out / VIDEOMAE, _videomae_card(notes[VIDEOMAE], shares, prompts))


def digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 digest of every safetensors file of a model, by its path in the folder."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*.safetensors"))
    }


def _write(directory: Path, text: str) -> None:
    files = "\n".join(f"| `{name}` | `{digest}` |" for name, digest in digests(directory).items())
    size = sum(path.stat().st_size for path in directory.rglob("*.safetensors"))
    head = f"\n## Files\n\n{size / 1e6:.2f} MB of weights in float16. Licence: Apache-2.0.\n\n"
    tail = f"{head}| file | SHA-256 |\n| --- | --- |\n{files}\n"
    (directory / CARD_NAME).write_text(text + tail, encoding="utf-8")


def _pipeline_card(name: str, notes: Mapping[str, Any], quality: Quality, prompts: int) -> str:
    head = _HEAD.format(
        name=name,
        library="diffusers",
        tag="text-to-video",
        what=f"A tiny text-to-video `WanPipeline`, {_PIPELINES[name]}: clips of 9 frames of 32 x 32 pixels\n"
        "from a sentence. Self-test of Video Diffusion Bench, whose demo must find the three in their order.",
    )
    note, shared = notes[name], notes["decoder"]
    how = (
        f"Steps: {note['steps']} of {note['batch']} clips, Muon and Adam. All three have the same autoencoder, which took\n"
        f"{shared['minutes'] + notes['autoencoder']['minutes']:.1f} minutes and gives clips of held-out combinations back with "
        f"{shared['decibels']} dB."
    )
    training = _training(name, note, how, after=" once `--part autoencoder --part decoder` is done")
    return head + _DATA.format(frames="9 frames") + training + _pipeline_figures(quality, prompts)


def _pipeline_figures(quality: Quality, prompts: int) -> str:
    return f"""
## Measured

{prompts} prompts, {STEPS} steps, guidance {GUIDANCE}; judged by `vdb-tiny-videomae` and `vdb-tiny-clip`.

| figure | value |
| --- | --- |
| Fréchet distance to fresh rendered clips (lower is better) | {quality.distance:.3f} |
| CLIP score with the right prompts | {quality.right:.1f} |
| CLIP score with shuffled prompts | {quality.shuffled:.1f} |
| clips with the right shape | {quality.shape:.0%} |
| clips with the right colour | {quality.colour:.0%} |
| clips with the right motion | {quality.motion:.0%} |
| clips with all of them right | {quality.all:.0%} |
"""


def _clip_card(note: Mapping[str, Any], scores: tuple[float, float], prompts: int) -> str:
    head = _HEAD.format(
        name=CLIP,
        library="transformers",
        tag="zero-shot-image-classification",
        what="A tiny `CLIPModel` for the CLIP scores of the embedded pipelines. It looks at single frames of 32 x 32 pixels\n"
        "and reads over words about motion.",
    )
    figures = (
        f"\n## Measured\n\n{prompts} rendered clips of held-out combinations: CLIP score {scores[0]:.1f} with the right\n"
        f"captions, {scores[1]:.1f} with shuffled ones.\n"
    )
    return head + _DATA.format(frames="single frames") + _training(CLIP, note, _steps(note)) + figures


def _videomae_card(note: Mapping[str, Any], shares: Mapping[str, float], prompts: int) -> str:
    head = _HEAD.format(
        name=VIDEOMAE,
        library="transformers",
        tag="feature-extraction",
        what="A tiny `VideoMAEModel` for Fréchet distances between clips of the embedded pipelines and rendered ones. It was\n"
        "trained to name shape, colour, motion and background from the mean of its last hidden states;\n"
        "`heads.safetensors` holds the four linear heads, `projection.safetensors` the 16 principal axes of its features\n"
        "over other rendered clips.",
    )
    named = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    figures = f"\n## Measured\n\nRight on {prompts} rendered clips of held-out combinations: {named}.\n"
    return head + _DATA.format(frames="9 frames") + _training(VIDEOMAE, note, _steps(note)) + figures


def _steps(note: Mapping[str, Any]) -> str:
    return f"Steps: {note['steps']} of {note['batch']} clips, Muon and Adam."


def _training(name: str, note: Mapping[str, Any], how: str, after: str = "") -> str:
    machine = f"machine with {os.cpu_count()} {platform.machine()} cores"
    return _TRAINING.format(name=name, after=after, how=how, minutes=note["minutes"], machine=machine)
