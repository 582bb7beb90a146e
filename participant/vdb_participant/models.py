"""Weights at the participant: nothing is loaded that is not what the spec agreed on.

Promises that a directory whose manifest digest differs from the spec's is refused, and so is one with pickles or code
in it, or with JSON that names code elsewhere, whatever its digest; loaders take only what passed here. The one exception
is the TorchScript file of an architecture that has one: a program, let through under its own name alone and run only once its
digest is the spec's.
Leaves the digest itself to `vdb_shared.weights` and loading to `generation/pipelines.py` and `measure/extractors/`.

Source: protos/README.md §5.1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vdb_participant.embedded import WEIGHTS
from vdb_participant.remote_code import refuse_remote_code
from vdb_shared.errors import ModelError
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.extractors import ARCHITECTURES, PUBLIC_MAP_FILE
from vdb_shared.registry.classes import EXTERNAL
from vdb_shared.registry.external import Endpoint
from vdb_shared.registry.rows import Registry
from vdb_shared.spec import Extractor, Model, Spec
from vdb_shared.weights import manifest_of

WEIGHTS_SUFFIX: Final = ".safetensors"

CONDITIONS: Final = "conditions"
"""Folder beside those of weights, with pictures and videos that clips start from (`data/conditions.py`)."""

_OLD_WEIGHTS: Final = frozenset((".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5"))
_CODE: Final = frozenset((".py", ".pyc", ".so", ".sh"))
"""What a directory of weights may not hold: loading a pickle runs whatever it says, and remote code is never loaded."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A directory of weights that passed the checks.

    Attributes:
        directory: where it stands.
        manifest: its manifest digest, "sha256:…".
        files: digest of each file by its path in the directory.
        lora: file that is laid over them, verified too.
    """

    directory: Path
    manifest: str
    files: Mapping[str, str] = field(repr=False)
    lora: Path | None = None


def list_files(directory: Path) -> Mapping[str, str]:
    """Return the digest ("sha256:…") of each file of a model directory by its path in it, sorted.

    Raises:
        ModelError: see `inspect_weights`.
    """
    return inspect_weights(directory).files


def manifest_digest(directory: Path) -> str:
    """Return the manifest digest of a model directory, as a spec names it.

    Raises:
        ModelError: see `inspect_weights`.
    """
    return inspect_weights(directory).manifest


def inspect_weights(directory: Path, script: str = "") -> Weights:
    """Return what a directory of weights holds.

    Args:
        directory: of the weights.
        script: name of the TorchScript file that stands in it in the place of safetensors, or "" for none.

    Raises:
        ModelError: it is missing, cannot be read, has no safetensors or script, holds a pickle or code, or names code.
    """
    _refuse_pickles_and_code(directory, script)
    refuse_remote_code(directory)
    files, digest = manifest_of(directory)
    if script and script not in files:
        raise ModelError(f"{directory}: expected {script}, found none; fetch the agreed weights into it")
    if not script and not any(name.endswith(WEIGHTS_SUFFIX) for name in files):
        raise ModelError(f"{directory}: expected {WEIGHTS_SUFFIX} files, found none; fetch the agreed weights into it")
    return Weights(directory, digest, files)


def script_in(directory: Path) -> str:
    """Return the name of the TorchScript file of a known architecture that stands in a directory, or ""."""
    names = (architecture.script for architecture in ARCHITECTURES.values() if architecture.script)
    return next((name for name in names if (directory / name).is_file()), "")


def place_of(name: str, folder: Path) -> Path:
    """Return where the weights of a model or extractor stand: in the site's folder, or in the package if they came with it."""
    packaged = WEIGHTS / name
    return packaged if packaged.is_dir() and not (folder / name).is_dir() else folder / name


def verify_weights(directory: Path, expected: str, script: str = "") -> Weights:
    """Return the weights of a directory whose manifest digest is the expected one; `script` as in `inspect_weights`.

    Raises:
        ModelError: missing or changed; names the directory and both digests.
    """
    if not directory.is_dir():
        raise ModelError(
            f"{directory}: expected weights with {expected} in the spec, found no such directory; "
            "fetch the agreed weights into it or ask the lead"
        )
    try:
        weights = inspect_weights(directory, script)
    except ModelError as error:
        raise ModelError(f"{error}; the spec expects {expected}") from error
    if weights.manifest != expected:
        raise ModelError(
            f"{directory}: expected {expected} in the spec, found {weights.manifest} over its {len(weights.files)} files; "
            "fetch the agreed weights or ask the lead (`vdb-participant models verify` shows every file's digest)"
        )
    return weights


def verify_extractor(extractor: Extractor, folder: Path) -> Weights:
    """Return the weights of an extractor of a spec, after comparing their digest with the one in the spec.

    Args:
        extractor: of a spec.
        folder: the site's, with one <id>/ folder for each extractor.

    Raises:
        ModelError: see `verify_weights`.
    """
    script = ARCHITECTURES[extractor.architecture].script
    return verify_weights(place_of(extractor.id, folder), extractor.manifest, script)


def verify_extractors(spec: Spec, folder: Path, names: Collection[str]) -> Mapping[str, Weights]:
    """Return the weights of some extractors of a spec by their ids, each with the public map that a metric asks of it.

    Args:
        spec: the spec.
        folder: the site's, with one <id>/ folder for each extractor.
        names: ids of the extractors.

    Raises:
        ModelError: see `verify_weights`; or a metric needs a public map, and the folder has none.
    """
    found = {
        extractor.id: verify_extractor(extractor, folder) for extractor in spec.extractors if extractor.id in names
    }
    for metric in spec.metrics:
        weights = found.get(metric.extractor or "")
        if weights is not None and definition_of(metric.id).public_map and PUBLIC_MAP_FILE not in weights.files:
            raise ModelError(
                f"{weights.directory}: {metric.id} needs a public map of features, found no {PUBLIC_MAP_FILE}; make a folder "
                "with one by `vdb-participant metrics fit-map` and name its digest in the spec"
            )
    return found


def weights_of(model: str, folder: Path, registry: Registry) -> Weights:
    """Return the weights of a model as its row says, whatever their digest.

    Args:
        model: its id.
        folder: with one <id>/ folder of weights for each model.
        registry: rows; a model without one is its folder.

    Raises:
        ModelError: see `inspect_weights`; or the row names a LoRA that is not in the model's folder.
    """
    row = registry.get(model)
    if row is None or row.changes is None:
        return inspect_weights(place_of(model, folder))
    own = inspect_weights(folder / model)
    if row.lora is None or row.base is None:
        return Weights(own.directory, row.composed({row.id: own.manifest}), own.files)
    if row.lora not in own.files:
        raise ModelError(
            f"{own.directory / row.lora}: expected the LoRA that the registry names, found none; put it there"
        )
    base = inspect_weights(place_of(row.base, folder))
    manifest = row.composed({row.id: own.manifest, row.base: base.manifest})
    return Weights(base.directory, manifest, base.files, own.directory / row.lora)


def verify_model(model: Model, folder: Path, registry: Registry) -> Weights:
    """Return what a model of a spec is made of, after comparing it with the digest in the spec.

    Raises:
        ModelError: missing, changed, or of another class than its row; names the place and both digests.
    """
    row = registry.get(model.id)
    if row is not None and row.pipeline != model.pipeline and row.changes is not None:
        raise ModelError(
            f"{model.id}: the spec says {model.pipeline}, the site's registry {row.pipeline}; ask the lead"
        )
    if model.pipeline != EXTERNAL:
        place = place_of(model.id, folder)
        if row is None or row.changes is None or not place.is_dir():
            return verify_weights(place, model.manifest)
        found = weights_of(model.id, folder, registry)
    elif row is None or row.external is None:
        raise ModelError(f"{model.id}: is external, but no registry file here says how to run it; see `models add`")
    else:
        found = Weights(folder, row.external_digest(), {})
    if found.manifest != model.manifest:
        raise ModelError(
            f"{model.id}: expected {model.manifest} in the spec, found {found.manifest} with its registry row; "
            "fetch the agreed weights and row, or ask the lead"
        )
    return found


def check_prompts_stay(spec: Spec, registry: Registry) -> None:
    """Refuse private prompts for a model behind an address elsewhere: they would leave the site.

    So would the choice of public clips that people here scored and that are made again to be measured.

    Raises:
        ModelError: names the model and its address.
    """
    of_people = not any(metric.inputs == "private" for metric in spec.metrics)
    if of_people and all(metric.of is None for metric in spec.metrics):
        return
    what = "which clips people scored" if of_people else "private prompts"
    for model in spec.models:
        row = registry.get(model.id)
        how = row.external if row is not None and model.pipeline == EXTERNAL else None
        if isinstance(how, Endpoint) and not how.is_local:
            raise ModelError(
                f"{model.id}: {what} would leave the site for {how.place}; decline, or run the model on this machine"
            )


def is_refused(path: Path) -> bool:
    """Return whether a file of this name may not be in a directory of weights."""
    return path.suffix.lower() in _OLD_WEIGHTS | _CODE


def _refuse_pickles_and_code(directory: Path, script: str) -> None:
    """Refuse by name before any byte is read, hidden files too."""
    allowed = directory / script if script else None
    for path in sorted(directory.rglob("*")):
        if is_refused(path) and path != allowed:
            kind = "code" if path.suffix.lower() in _CODE else "a pickle or another old weights format"
            raise ModelError(f"{path}: is {kind}; only safetensors and JSON are loaded, remove it or ask the lead")
