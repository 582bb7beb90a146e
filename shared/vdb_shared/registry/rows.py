"""Known models: the packaged rows, and a site's own.

Promises strict parsing, errors with file and field, and that a site's row replaces the packaged one of the same id whole;
pins alone are laid over rows. A row that builds on another (`base`) takes over what it does not say itself. Leaves weights
to the participant.

    version = "vdb-registry/1"
    [[models]]              one for each model; see `Row`
    [models.external]       instead of weights: a command or an endpoint; see external.py
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from vdb_shared.canonical import canonical_json, check_digest, decimal_string, sha256_digest
from vdb_shared.errors import FormatError, SpecError, UsageError
from vdb_shared.registry.classes import (
    EXTERNAL,
    Entry,
    PipelineClass,
    Tasks,
    Texts,
    check_frames,
    check_side,
    known_class,
    pipeline_classes,
)
from vdb_shared.registry.external import Command, Endpoint
from vdb_shared.schema_words import first_field
from vdb_shared.toml_lines import toml_problem
from vdb_shared.weights import UNPINNED

SUFFIX: Final = ".toml"

PINS: Final = "pins.toml"
"""File in a site's directory with revisions and manifest digests; what it says goes before what the rows say."""

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Precision = Literal["float32", "bfloat16", "float16"]


_Tables = Mapping[str, Mapping[str, Any]]
"""Tables of rows by id."""


class Licence(Entry):
    """Under which terms weights may be used.

    Attributes:
        name: as the authors call it.
        verified: whether somebody compared the name with the text in the repository.
        excluded: territories in which the licence grants nothing.
    """

    name: str
    verified: bool = False
    excluded: Texts = ()


class Memory(Entry):
    """Peak device memory in a profile, and how it is known."""

    profile: str
    gigabytes: float = Field(gt=0)
    basis: Literal["measured", "estimated"]


class Scheduler(Entry):
    """Another scheduler than the weights come with: its class in diffusers, and settings that differ."""

    name: str
    settings: Mapping[str, bool | int | float | str] = Field(default_factory=dict)


class Row(Entry):
    """A model.

    Attributes:
        id: under which specs name it.
        pipeline: diffusers class, or "external" (in TOML: class).
        base: id of the row that this one builds on: fine-tuned weights in a folder of their own, or a LoRA.
        lora: file in the model's folder that is laid over the base's weights, with strength `scale`.
        packaged: whether the weights come with this package.
        repository, revision: where `models fetch` finds the weights.
        manifest: digest of the weights, "unpinned" until `models pin`.
        tasks: what it is used for; the class's unless it says otherwise.
        parameters: billions, of the denoisers; `basis` tells how they are known.
        steps, guidance, negative_prompt, frames, fps, height, width: what the authors or the library propose.
        multiple: of height and width, where the model needs more than its class.
        audio: whether clips have sound.
        dtype: precision of each component, "default" for the others; the profile "exact" computes in float32 all the same.
        scheduler: another one than the weights come with.
        memory: peaks, by profile.
        external: how to run it, instead of weights.
    """

    id: Id
    pipeline: Annotated[str, AfterValidator(known_class)] = Field(alias="class")
    base: Id | None = None
    lora: str | None = None
    scale: float | None = Field(default=None, gt=0, le=10)
    packaged: bool = False
    repository: str | None = None
    revision: str = UNPINNED
    manifest: str = UNPINNED
    licence: Licence
    tasks: Tasks | None = None
    parameters: float | None = Field(default=None, gt=0)
    basis: Literal["counted", "stated", "unknown"] = "unknown"
    steps: int = Field(ge=1, le=1000)
    guidance: float = Field(ge=0, le=100)
    negative_prompt: str = ""
    frames: int = Field(ge=2, le=1024)
    fps: int = Field(ge=1, le=240)
    height: int = Field(ge=16, le=4096)
    width: int = Field(ge=16, le=4096)
    multiple: int | None = Field(default=None, ge=1)
    audio: bool = False
    dtype: Mapping[str, Precision] = Field(default_factory=dict)
    scheduler: Scheduler | None = None
    memory: Mapping[str, Memory] = Field(default_factory=dict)
    external: Annotated[Command | Endpoint, Field(discriminator="kind")] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if (self.pipeline == EXTERNAL) != (self.external is not None):
            raise ValueError('external: a table [models.external] goes with class = "external", and only with it')
        if self.lora is not None and self.base is None:
            raise ValueError("lora: goes over the weights of another model; name it in base")
        if self.lora is not None and (Path(self.lora).name != self.lora or not self.lora.endswith(".safetensors")):
            raise ValueError(f"lora: expected the name of a .safetensors file in the model's folder, found {self.lora}")
        if self.manifest != UNPINNED:
            try:
                check_digest(self.manifest)
            except FormatError as error:
                raise ValueError(f"manifest: {error}") from error
        self._check_clips()
        return self

    def _check_clips(self) -> None:
        if self.known is None:
            return
        try:
            check_frames(self.pipeline, self.frames, field="frames")
            check_side(self.pipeline, "height", self.height, field="height", multiple=self.multiple)
            check_side(self.pipeline, "width", self.width, field="width", multiple=self.multiple)
        except SpecError as error:
            raise ValueError(str(error)) from error

    @property
    def known(self) -> PipelineClass | None:
        """What is known of its class; None for an external model."""
        return pipeline_classes().get(self.pipeline)

    @property
    def side_multiple(self) -> int:
        """What height and width are multiples of."""
        return self.multiple or (self.known.multiple if self.known else 1)

    @property
    def used_for(self) -> tuple[str, ...]:
        """Its tasks."""
        return self.tasks or (self.known.tasks if self.known else ("text-to-video",))

    @property
    def peaks(self) -> Mapping[str, int]:
        """Most bytes of device memory that it needs, by profile, where known."""
        found: dict[str, int] = {}
        for item in self.memory.values():
            found[item.profile] = max(found.get(item.profile, 0), int(item.gigabytes * 10**9))
        return found

    @property
    def changes(self) -> Mapping[str, Any] | None:
        """What besides the files in its folder decides its clips, as JSON; None when the files are all."""
        changes: dict[str, Any] = {}
        if self.lora is not None:
            changes |= {"base": self.base, "lora": self.lora, "scale": decimal_string(self.scale or 1.0)}
        if self.scheduler is not None:
            settings = {
                name: decimal_string(value) if isinstance(value, float) else value
                for name, value in self.scheduler.settings.items()
            }
            changes |= {"scheduler": {"name": self.scheduler.name, "settings": settings}}
        return changes or None

    def composed(self, folders: Mapping[str, str]) -> str:
        """Return the digest that a spec names for this model.

        Args:
            folders: manifest digest of each folder of weights, by id: its own, and the base's of a LoRA.

        Returns:
            Its own folder's digest where the files are all; else the digest of the canonical JSON of the folders'
            digests and of what changes them, so that no site can run the same files otherwise.
        """
        if self.changes is None:
            return folders[self.id]
        return sha256_digest(canonical_json({"folders": dict(folders), "changes": self.changes}))

    def external_digest(self) -> str:
        """Return the digest that a spec names for an external model: of how it is run and the revision it claims."""
        if self.external is None:
            raise ValueError(f"{self.id} has weights")
        how = self.external.model_dump(mode="json", exclude={"limits"})
        return sha256_digest(canonical_json({"id": self.id, "revision": self.revision, "external": how}))


@dataclass(frozen=True, slots=True)
class Registry:
    """All models that are known here.

    Attributes:
        rows: by id, in the order of the files.
        own: ids of rows that come from the site's own files.
    """

    rows: Mapping[str, Row]
    own: frozenset[str] = frozenset()

    def get(self, name: str) -> Row | None:
        """Return the row of a model, or None."""
        return self.rows.get(name)


def load_registry(directory: Path | None = None) -> Registry:
    """Return the packaged rows and those of a site's directory.

    Args:
        directory: with the site's own files (*.toml, read in the order of their names) and pins; it may be missing.

    Raises:
        UsageError: a file that is no registry file; names file and field.
    """
    own, pins, sources = _own(directory)
    tables = {**_packaged(), **own}
    rows = {name: _row(name, tables, pins, sources.get(name, "models.toml")) for name in tables}
    return Registry(rows, frozenset(own))


def read_file(path: Path) -> str:
    """Return the text of a registry file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as UTF-8 text ({error}); check the path") from error


def parse_rows(text: str, *, file: str, directory: Path | None = None) -> tuple[Row, ...]:
    """Return the rows of one file, whose bases may stand in it, in a site's directory or in the package.

    Raises:
        UsageError: names file and field.
    """
    found = dict(tables_of(text, file))
    tables = {**_packaged(), **_own(directory)[0], **found}
    return tuple(_row(name, tables, {}, file) for name in found)


def _own(directory: Path | None) -> tuple[_Tables, _Tables, Mapping[str, str]]:
    """Return a site's tables, its pins, and the file of each table."""
    tables: dict[str, Mapping[str, Any]] = {}
    pins: dict[str, Mapping[str, Any]] = {}
    sources: dict[str, str] = {}
    for path in sorted(directory.glob("*" + SUFFIX)) if directory is not None and directory.is_dir() else ():
        for name, table in tables_of(read_file(path), str(path)):
            if path.name == PINS:
                pins[name] = {key: table[key] for key in ("revision", "manifest") if key in table}
                continue
            if name in tables:
                raise UsageError(f"{path}: {name} stands in {sources[name]} too; remove one of them")
            tables[name], sources[name] = table, str(path)
    return tables, pins, sources


@lru_cache(maxsize=1)
def _packaged() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files("vdb_shared").joinpath("registry", "models.toml").read_text(encoding="utf-8")
    return dict(tables_of(text, "models.toml"))


def tables_of(text: str, file: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield id and table of each row of a file; what is in a table is checked when it becomes a row.

    Raises:
        UsageError: the file is no registry file.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: {toml_problem(text, error)}") from error
    if values.get("version") != "vdb-registry/1":
        raise UsageError(f'{file}: version: expected "vdb-registry/1", found {values.get("version")!r}')
    tables = values.get("models")
    unknown = sorted(set(values) - {"version", "models"})
    if unknown or not isinstance(tables, list) or not tables:
        raise UsageError(f"{file}: {unknown[0] if unknown else 'models'}: expected version and tables [[models]]")
    for number, table in enumerate(tables):
        name = table.get("id") if isinstance(table, dict) else None
        if not isinstance(name, str):
            raise UsageError(f"{file}: models.{number}.id: is missing")
        if name in [other.get("id") for other in tables[:number]]:
            raise UsageError(f"{file}: models.{number}.id: {name} stands in the file twice; remove one of them")
        yield name, table


def _row(name: str, tables: _Tables, pins: _Tables, file: str) -> Row:
    """Return the row of a table, filled from its base where it has one, and pinned."""
    table = {**tables[name], **pins.get(name, {})}
    if "packaged" in table and tables[name] != _packaged().get(name):
        raise UsageError(f"{file}: {name}: packaged: is said of this package's own weights alone; remove it")
    base = table.get("base")
    if base is not None:
        if base == name or base not in tables or tables[base].get("base") is not None:
            raise UsageError(f"{file}: {name}: base: {base!r} is no model that stands on its own; see `models list`")
        inherited = {key: value for key, value in tables[base].items() if key not in _OF_ITS_FILES}
        table = inherited | table
    try:
        return Row.model_validate(table)
    except ValidationError as error:
        field, problem = first_field(error)
        raise UsageError(f"{file}: {name}: {field + ': ' if field else ''}{problem}") from error


_OF_ITS_FILES: Final = frozenset(("id", "packaged", "repository", "revision", "manifest"))
"""What a row that builds on another does not take over."""
