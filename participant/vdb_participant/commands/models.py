"""`vdb-participant models`: what is known, where it comes from, under which terms, and which bytes it is.

Promises that nothing is fetched that is not pinned, that only weights and their settings are copied, never code, and that
licence and territory were shown and accepted first. Loads no machine learning framework.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from vdb_participant.models import CONDITIONS, inspect_weights, is_refused, script_in, weights_of
from vdb_participant.site.config import StateFolder
from vdb_participant.site.policy import PolicyFile, check_licence, check_url
from vdb_participant.site.storage import write_durably
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import ModelError, UsageError
from vdb_shared.registry.rows import PINS, Registry, Row, load_registry, parse_rows, read_file, tables_of
from vdb_shared.spec import Spec
from vdb_shared.weights import UNPINNED

FETCHED: Final = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.md", "LICENSE*", "NOTICE*")
"""What is downloaded: weights, settings, vocabularies, chat templates, and words about them. No pickles, no code."""

LICENCES: Final = "licences.json"
"""File in the site's registry with the notices that were accepted, by model."""

HUB_SECONDS: Final = 10.0
"""For how long a hub is waited for before it counts as away."""

PUBLIC_HUB: Final = "https://huggingface.co"

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from: a directory, or a hub (the public one, or a mirror of it)."""

    directory: Path | None = None
    mirror: str | None = None

    @property
    def hub(self) -> str:
        """URL of the hub; "" where none is asked."""
        if self.directory is not None:
            return ""
        return self.mirror or os.environ.get("HF_ENDPOINT") or PUBLIC_HUB


def check_fetch(policy: PolicyFile, row: Row, source: Source) -> None:
    """Refuse to fetch what may not run here, or from where the agent may not connect to.

    Raises:
        BudgetError: names the rule.
    """
    check_licence(policy, row.id, row.licence.name)
    if source.hub:
        check_url(policy, source.hub, "the hub of weights")


def known_model(registry: Registry, name: str) -> Row:
    """Return the row of a model.

    Raises:
        UsageError: there is none.
    """
    row = registry.get(name)
    if row is None:
        raise UsageError(f"{name}: no such model is known; see `models list`, or add a file with `models add`")
    return row


def facts(row: Row, *, own: bool) -> dict[str, Any]:
    """Return all that a row says, as JSON without reals."""
    values: dict[str, Any] = json.loads(row.model_dump_json(exclude_none=True), parse_float=str)
    return values | {"tasks": list(row.used_for), "multiple": row.side_multiple, "own": own}


def notice(row: Row) -> str:
    """Return licence and territory in words."""
    licence = row.licence
    words = f"licence: {licence.name}" + ("" if licence.verified else " (not verified: read it at the repository)")
    if licence.excluded:
        words += f"; it grants nothing in: {', '.join(licence.excluded)}"
    return words


def print_list(console: Console, rows: Iterable[Row]) -> None:
    """Print one line for each model."""
    lines = [("Model", "Task", "Parameters", "Licence", "Clip", "Size")]
    for row in rows:
        size = "-" if row.parameters is None else f"{row.parameters:g} B"
        clip = f"{row.frames}@{row.fps}" + (" with sound" if row.audio else "")
        excluded = f", not {'/'.join(row.licence.excluded)}" if row.licence.excluded else ""
        tasks = ", ".join(row.used_for)
        lines.append((row.id, tasks, size, row.licence.name + excluded, clip, f"{row.height}x{row.width}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        console.print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(console: Console, row: Row, *, own: bool) -> None:
    """Print all that a row says, and its licence in words."""
    for name, value in facts(row, own=own).items():
        shown = value if isinstance(value, str) else canonical_json(value).decode()
        console.print(f"{name:<16} {shown}")
    console.print(notice(row))


def add(state: StateFolder, file: Path) -> list[str]:
    """Copy a file with own models into the site's registry and return their ids.

    Raises:
        UsageError: not in order, or one of its models or its name is there already.
    """
    text = read_file(file)
    rows = parse_rows(text, file=str(file), directory=state.registry)
    target = state.registry / file.name
    if file.suffix != ".toml" or file.name == PINS:
        raise UsageError(f"{file}: expected a file NAME.toml, other than {PINS}")
    if target.exists():
        raise UsageError(f"{target}: is there already; remove it or give the new file another name")
    taken = [row.id for row in rows if row.id in load_registry(state.registry).own]
    if taken:
        raise UsageError(f"{file}: {taken[0]} is in {state.registry} already; remove it there or take another id")
    write_durably(target, text.encode())
    return [row.id for row in rows]


def pin(state: StateFolder, name: str, revision: str, directory: Path | None) -> Row:
    """Write a model's revision, and the digest of a directory of its weights, into the site's registry.

    Raises:
        UsageError: no such model, or no commit.
        ModelError: no usable weights in the directory.
    """
    row = known_model(load_registry(state.registry), name)
    if row.packaged:
        raise UsageError(f"{name}: comes with this package, which pins it; there is nothing to pin")
    if row.external is None and not _COMMIT.fullmatch(revision):
        raise UsageError(f"{revision}: expected a commit of 40 hex digits; a branch or tag may change under its name")
    pins = _read_pins(state.registry / PINS)
    pinned = pins.get(name, {}) | {"revision": revision}
    if directory is not None:
        pinned["manifest"] = inspect_weights(directory).manifest
    elif row.revision != revision:
        pinned.pop("manifest", None)  # the digest was another revision's
    lines = ['version = "vdb-registry/1"\n']
    for model, values in sorted((pins | {name: pinned}).items()):
        body = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        lines.append(f'\n[[models]]\nid = "{model}"\n{body}')
    write_durably(state.registry / PINS, "".join(lines).encode())
    return known_model(load_registry(state.registry), name)


def _read_pins(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    return {
        name: {key: str(value) for key, value in table.items() if key != "id"}
        for name, table in tables_of(read_file(path), str(path))
    }


def accept_licence(state: StateFolder, row: Row, ask: Callable[[str], bool] | None, *, accepted: bool) -> None:
    """Make sure that the licence of a model was accepted at this site, once for each licence.

    Args:
        state: where acceptance is recorded.
        row: of the model.
        ask: shows words and returns the answer; None where nobody can be asked.
        accepted: on the command line.

    Raises:
        UsageError: it was not.
    """
    known, words = _accepted(state), notice(row)
    if known.get(row.id) == words:
        return
    if not accepted:
        if ask is None:
            raise UsageError(f"{row.id}: {words}; read it and say --accept-licence")
        if not ask(words):
            raise UsageError(
                f"{row.id}: its licence was not accepted, so nothing was done; the same command asks again"
            )
    write_durably(state.registry / LICENCES, canonical_json(known | {row.id: words}))


def accept_licences(
    state: StateFolder, spec: Spec, ask: Callable[[str], bool] | None, *, accepted: bool, show: Callable[[str], None]
) -> None:
    """Show the licences of a spec's models that were not accepted here yet, and make sure that they are; see `accept_licence`.

    Args:
        state: of the site, whose registry knows licences; models without a row have none to show, packaged ones come
            under this package's own.
        spec: the spec.
        ask: see `accept_licence`.
        accepted: see `accept_licence`.
        show: shown each licence and the territories that it leaves out.

    Raises:
        UsageError: one was not.
    """
    for row in _not_accepted(state, spec):
        show(f"{row.id}: {notice(row)}")
        accept_licence(state, row, ask, accepted=accepted)


def not_accepted(state: StateFolder, spec: Spec) -> Mapping[str, str]:
    """Return the models of a spec that may not be run yet, each with what to do; see `accept_licences`."""
    return {
        row.id: f"{notice(row)}; not accepted here yet: `join` asks, and times it then"
        for row in _not_accepted(state, spec)
    }


def _not_accepted(state: StateFolder, spec: Spec) -> tuple[Row, ...]:
    """Return the rows of a spec's models whose licences were not accepted here."""
    registry, known = load_registry(state.registry), _accepted(state)
    found = ((model, row) for model in spec.models if (row := registry.get(model.id)) is not None)
    return tuple(
        row
        for model, row in found
        if not (row.packaged and row.manifest == model.manifest) and known.get(row.id) != notice(row)
    )


def _accepted(state: StateFolder) -> dict[str, str]:
    """Return the notices that were accepted at this site, by model."""
    path = state.registry / LICENCES
    found: dict[str, str] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def check_fetchable(row: Row) -> None:
    """Check that a model has weights that are not here already.

    Raises:
        UsageError: it has none, or they come with this package.
    """
    if row.external is not None:
        raise UsageError(f"{row.id}: runs elsewhere and has no weights")
    if row.packaged:
        raise UsageError(f"{row.id}: comes with this package; there is nothing to fetch")


def fetch(row: Row, source: Source, folder: Path) -> tuple[Path, str]:
    """Bring a model's weights into a folder of models and return their place and manifest digest.

    Raises:
        UsageError: it has no weights, is not pinned, or is there already.
        ModelError: what came is not what was pinned, or cannot be loaded.
    """
    target = folder / row.id
    check_fetchable(row)
    if target.exists():
        raise UsageError(f"{target}: is there already; remove it to fetch the weights again")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as partial:
        place = Path(partial) / row.id
        if source.directory is not None:
            _copy(source.directory, place)
        else:
            _download(row, source.hub, place)
        found = inspect_weights(place)
        if row.manifest not in (UNPINNED, found.manifest):
            raise ModelError(f"{row.id}: expected {row.manifest} as pinned, found {found.manifest}; ask the lead")
        place.rename(target)
    return target, found.manifest


def _copy(directory: Path, place: Path) -> None:
    if not directory.is_dir():
        raise UsageError(f"{directory}: expected a directory of weights, found none")
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if path.is_file() and not is_refused(path) and not any(part.startswith(".") for part in name.parts):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place / name)
    if not place.exists():
        raise ModelError(f"{directory}: expected weights ({', '.join(FETCHED)}), found none")


def _download(row: Row, hub: str, place: Path) -> None:
    if row.repository is None:
        raise UsageError(f"{row.id}: its row names no repository; use --from DIR")
    if row.revision == UNPINNED:
        raise UsageError(
            f"{row.id}: its revision is unpinned; look it up at {row.repository} and write it down with `models pin`"
        )
    from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415 - only fetching needs it
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:  # asked once, since a download tries for half a minute before it says that nobody is there
        HfApi(endpoint=hub).model_info(row.repository, revision=row.revision, timeout=HUB_SECONDS)
    except (HfHubHTTPError, ValueError) as error:
        raise ModelError(f"{row.repository}: cannot be fetched: {_reason(error)}") from error
    except Exception as error:  # of the library's HTTP client, whose errors have no common name in it
        raise ModelError(
            f"{row.repository}: cannot be fetched: {hub} cannot be reached ({_reason(error)}); look at network and proxy, "
            "name a --mirror, or copy a folder with --from DIR"
        ) from error
    try:
        snapshot_download(
            row.repository, revision=row.revision, allow_patterns=list(FETCHED), local_dir=place, endpoint=hub
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(f"{row.repository}: cannot be fetched: {_reason(error)}") from error
    shutil.rmtree(place / ".cache", ignore_errors=True)  # the library's own notes on the download


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def verified(folder: Path, registry: Registry) -> Mapping[str, Mapping[str, Any]]:
    """Return manifest digests and files of every model in a folder, as specs name them.

    Raises:
        UsageError: no such folder, or no model in it.
        ModelError: a directory that cannot be used.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder of models, found none")
    found: dict[str, Mapping[str, Any]] = {}
    for place in sorted(folder.iterdir()):
        if place.is_dir() and place.name != CONDITIONS and not place.name.startswith("."):
            script = script_in(place)
            weights = inspect_weights(place, script) if script else weights_of(place.name, folder, registry)
            found[place.name] = {"manifest": weights.manifest, "files": dict(weights.files)}
    for name in sorted(registry.own):
        row = registry.rows[name]
        if row.external is not None:
            found[name] = {"manifest": row.external_digest(), "files": {}}
    if not found:
        raise UsageError(
            f"no model in {folder}: expected a folder of weights for each model, named by its id, found none"
        )
    return found
