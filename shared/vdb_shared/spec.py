"""The benchmark spec: what all institutions agree on before any work.

A spec is written as TOML, parsed strictly, and fixed as RFC 8785 bytes whose SHA-256 every statement names. TOML and JSON
go through one path: TOML becomes canonical JSON first, so both are validated by the same model. Leaves what follows from a
spec and its joins to `seal.py`, and the meaning of metrics to `metrics/catalogue.py`.

Source: protos/README.md §5.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from vdb_shared.canonical import (
    canonical_json,
    parse_canonical_json,
    sha256_digest,
    with_decimal_strings,
)
from vdb_shared.errors import FormatError, SpecError
from vdb_shared.fields import Condition, Digest, MetricId, Name, Real, Text
from vdb_shared.metrics.extractors import known_architecture
from vdb_shared.registry.classes import Start, Task, known_class, known_task, pipeline_classes, tasks_of
from vdb_shared.spec_mistakes import first_mistake, unwritable
from vdb_shared.toml_lines import line_of, toml_problem

MAX_SPEC_BYTES: Final = 4 * 2**20
"""A spec travels in one message; larger prompt sets belong into files named by digest."""

CHECKED_SHARE: Final = Decimal("0.02")
"""Share of the public clips that two sites make where a TOML file does not say; it is written out in the canonical form."""


Pipeline = Annotated[str, AfterValidator(known_class)]  # a class of the registry, or "external"

Sampler = Literal["opendp", "integer"]  # which implementation draws the noise; the distribution is the same

Profile = Literal["exact", "balanced", "fast", "low-memory", "auto"]
Grade = Literal["exact", "accelerated"]
"""Class of a clip: made with native attention and no caches in float32, or with anything that may change pixels."""


def class_of(profile: str) -> Grade:
    """Return the class of the clips that are made under a profile; "auto" is none."""
    return "exact" if profile == "exact" else "accelerated"


class Section(BaseModel):
    """Base of all parts of a spec: strict, frozen, no unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Cohort(Section):
    """Who must take part.

    Attributes:
        minimum: smallest number of institutions that must join.
        collusion: c, how many institutions may collude with the coordinator or add no noise.
        dropout: theta, the share of joined institutions that may drop out, in [0, 0.5).
    """

    minimum: int = Field(ge=3, le=1000)
    collusion: int = Field(ge=1, le=500)
    dropout: Real = Field(ge=0, lt=Decimal("0.5"))


class Privacy(Section):
    """Differential privacy of the private inputs, per record, add/remove neighbours.

    Attributes:
        mechanism: "distributed-discrete-gaussian"; "none" exists for tests only and makes every audit fail V42.
        sampler: "opendp": OpenDP's discrete Gaussian; "integer": our own, exact in integer arithmetic and some 50 times
            as fast. No audit can tell which one a site used.
        epsilon, delta: the guarantee.
        maximum_records: largest number of private records of one institution; fixes the lanes' capacity.
    """

    mechanism: Literal["distributed-discrete-gaussian", "none"] = "distributed-discrete-gaussian"
    sampler: Sampler = "opendp"
    epsilon: Real = Field(gt=0, le=64)
    delta: Real = Field(gt=0, lt=Decimal("0.01"))
    maximum_records: int = Field(ge=1, le=2**24)


class Deadlines(Section):
    """Seconds each phase may take."""

    joining: int = Field(ge=1)
    computing: int = Field(ge=1)
    round: int = Field(ge=1)
    countersigning: int = Field(ge=1)


class Video(Section):
    """Shape of every generated clip, and of reference clips after decoding: frames x height x width, frames per second."""

    frames: int = Field(ge=2, le=1024)
    height: int = Field(ge=16, le=4096)
    width: int = Field(ge=16, le=4096)
    fps: int = Field(ge=1, le=240)


class Generation(Section):
    """How clips are generated.

    Attributes:
        steps, guidance, negative_prompt: passed to every pipeline.
        samples: clips for each prompt and model.
        private_share: share of each institution's private prompts that is used, in [0, 1]. Every prompt is chosen by its
            own hash alone: were the number fixed, adding one record would push out another, and one record would count as two.
        checked_share: share of the public clips that two sites make and compare (§6.3). 0, which no file in TOML has unless it
            says so, is left out of the canonical form: specs older than the field keep their digest and their meaning.
        profile: how fast and in how much memory; "auto" is the fastest of class `grade` that fits a site's device.
        grade: class of all clips, so that no column mixes them: stands beside "auto" alone, else it follows from the profile.
    """

    steps: int = Field(ge=1, le=1000)
    guidance: Real = Field(ge=0, le=100)
    negative_prompt: Annotated[str, StringConstraints(max_length=2000)] = ""
    samples: int = Field(default=1, ge=1, le=64)
    private_share: Real = Field(default=Decimal(0), ge=0, le=1)
    checked_share: Real = Field(default=Decimal(0), ge=0, le=1)
    profile: Profile = "exact"
    grade: Grade | None = None

    @property
    def clip_class(self) -> Grade:
        """Class of all clips."""
        return self.grade or class_of(self.profile)

    @model_serializer(mode="wrap")
    def _without_what_is_not_declared(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out a class that follows from the profile and a share of 0: each spec has one canonical form."""
        absent = {"grade": None, "checked_share": "0"}
        return {name: value for name, value in inner(self).items() if name not in absent or value != absent[name]}


class Sparse(Section):
    """A section whose absent fields are left out but for the oldest, so that specs older than a field keep their bytes."""

    oldest: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_absent_fields(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in inner(self).items() if value is not None or name in self.oldest}


class Prompt(Sparse):
    """A public prompt.

    Attributes:
        condition: digest of the picture or video file that models start from which do not make clips of words alone.
    """

    id: Name
    text: Text
    condition: Condition | None = None


class Model(Sparse):
    """A model under test.

    Attributes:
        id: of the model, and of its row in the registry where it has one.
        pipeline: diffusers class, or "external".
        manifest: digest of its weights (§5.1).
        task: of those that its class can do; None stands for the first, which is text-to-video where it can do that.
        steps, guidance, negative_prompt, frames, height, width, fps: its own terms; None stands for the spec's.
    """

    id: Name
    pipeline: Pipeline
    manifest: Digest
    task: Task | None = None
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance: Real | None = Field(default=None, ge=0, le=100)
    negative_prompt: Annotated[str, StringConstraints(max_length=2000)] | None = None
    frames: int | None = Field(default=None, ge=2, le=1024)
    height: int | None = Field(default=None, ge=16, le=4096)
    width: int | None = Field(default=None, ge=16, le=4096)
    fps: int | None = Field(default=None, ge=1, le=240)

    @field_validator("task")
    @classmethod
    def _able(cls, task: Task | None, found: ValidationInfo) -> Task | None:
        name = found.data.get("pipeline")
        return task if task is None or name is None else known_task(name, task)

    @property
    def start(self) -> Start:
        """What its clips start from besides words."""
        known = pipeline_classes().get(self.pipeline)
        return "" if known is None else known.start(self.task or tasks_of(self.pipeline)[0])


class Extractor(Sparse):
    """A feature extractor.

    Attributes:
        id: of the extractor.
        architecture: one of metrics/extractors.py.
        manifest: digest of its weights (§5.1).
        dimension: of its features.
        precision: "float16" for mixed precision on GPUs, where it is several times as fast and features differ in the third
            digit; None stands for float32. CPUs and TorchScript always compute in float32.
    """

    id: Name
    architecture: Annotated[str, AfterValidator(known_architecture)]
    manifest: Digest
    dimension: int = Field(ge=1, le=4096)
    precision: Literal["float16"] | None = None


class Metric(Sparse):
    """One metric on one kind of input.

    Attributes:
        id: metric and version, as in the catalogue, such as "clip-score@1".
        inputs: "public": clips of the spec's prompts, exact; "private": of private prompts, "ratings": people's; both noised.
        extractor: id of the extractor it needs, or None.
        weight: share of the privacy budget, relative to the other private blocks (privacy.md).
        limit: upper end of the scale for metrics without a natural one (seconds, frames/s), norm to which features are clipped.
        features: number of random features (mmd-rff), of a sketch's lanes (kvd3), of anchors (coverage).
        bandwidth: kernel bandwidth (mmd-rff).
        of: metric whose scores are correlated with people's; extractor and limit are then its own.
    """

    oldest = frozenset({"extractor", "limit", "features", "bandwidth"})

    id: MetricId
    inputs: Literal["public", "private", "ratings"]
    extractor: Name | None = None
    weight: Real = Field(default=Decimal(1), gt=0, le=1000)
    limit: Real | None = Field(default=None, ge=Decimal("0.000001"), le=1_000_000)
    features: int | None = Field(default=None, ge=2, le=16384, multiple_of=2)
    bandwidth: Real | None = Field(default=None, ge=Decimal("0.000001"), le=1_000_000)
    of: MetricId | None = None


class Spec(Section):
    """A whole benchmark spec; see deploy/presets for commented examples."""

    version: Literal["vdb-spec/1"]
    title: Text
    purpose: Text
    cohort: Cohort
    privacy: Privacy
    deadlines: Deadlines
    video: Video
    generation: Generation
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=4096)]
    models: Annotated[tuple[Model, ...], Field(min_length=1, max_length=64)]
    extractors: Annotated[tuple[Extractor, ...], Field(max_length=16)] = ()
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if found := "\n".join(incoherences(self)):
            raise ValueError(found)
        return self

    def canonical(self) -> bytes:
        """Return the spec's RFC 8785 bytes, defaults written out."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """Digest of the canonical bytes."""
        return sha256_digest(self.canonical())

    def extractor(self, name: str) -> Extractor:
        """Return the extractor with this id."""
        return next(extractor for extractor in self.extractors if extractor.id == name)


def parse_spec_toml(text: str, *, file: str = "spec") -> Spec:
    """Return the spec written in TOML.

    Raises:
        SpecError: with file, line and field of the first mistake, and the others that were found with it.
    """
    values = spec_values(text, file=file)
    try:
        spec = spec_of(values)
        for mistake in noise_mistakes(spec):
            raise mistake
    except SpecError as error:
        first, *others = (
            SpecError(mistake.problem, file=file, line=line_of(text, mistake.field), field=mistake.field)
            for mistake in (error, *error.others)
        )
        raise SpecError(first.problem, file=file, line=first.line, field=first.field, others=tuple(others)) from error
    return spec


def spec_values(text: str, *, file: str = "spec") -> dict[str, Any]:
    """Return the values of a spec's TOML, with what is written out where it does not say.

    Raises:
        SpecError: no TOML; with file and line.
    """
    try:
        values = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:  # no TOML, or digits or nesting without end
        found = re.search(r"\(at line (\d+)", str(error))
        line = int(found.group(1)) if found else None
        raise SpecError(toml_problem(text, error), file=file, line=line) from error
    if isinstance(generation := values.get("generation"), dict):
        generation.setdefault("checked_share", CHECKED_SHARE)
    return values


def spec_of(values: dict[str, Any], schema: type[Spec] = Spec) -> Spec:
    """Return the spec with these values; `schema` may be a spec that is checked less.

    Raises:
        SpecError: with the field of the first mistake, and the others.
    """
    try:
        return _validate(canonical_json(with_decimal_strings(values)), schema)
    except (FormatError, RecursionError) as error:
        raise unwritable(values, lambda rest: spec_of(rest, schema)) or SpecError(str(error)) from error


def incoherences(spec: Spec) -> Iterator[str]:
    """Yield in what fields of a spec that are each in order do not go together: a field, a colon and why."""
    for name, ids in (
        ("prompts", [prompt.id for prompt in spec.prompts]),
        ("models", [model.id for model in spec.models]),
        ("extractors", [extractor.id for extractor in spec.extractors]),
        ("metrics", [f"{metric.id} on {metric.inputs} inputs" for metric in spec.metrics]),
    ):
        places: dict[str, list[int]] = {}
        for place, item in enumerate(ids):
            places.setdefault(item, []).append(place)
        for item, (first, *others) in places.items():
            if others:
                yield f"{name}.{others[0]}.id: {item} stands twice; {name}.{first} has it too"
    if spec.cohort.minimum < spec.cohort.collusion + 2:
        yield (
            f"cohort.minimum: {spec.cohort.minimum} is too small for collusion {spec.cohort.collusion}; "
            f"at least {spec.cohort.collusion + 2} institutions are needed"
        )
    if (spec.generation.profile == "auto") != (spec.generation.grade is not None):
        yield 'generation.grade: "exact" or "accelerated" goes with profile "auto", and only with it; else the profile tells'
    if any(metric.inputs == "private" for metric in spec.metrics) and spec.generation.private_share == 0:
        yield "generation.private_share: is 0, but a metric has private inputs; say which share of the prompts is used"


def noise_mistakes(spec: Spec) -> Iterator[SpecError]:
    """Yield that a spec which somebody wrote turns the noise off."""
    if spec.privacy.mechanism == "none":
        problem = "none exists for tests only: no spec that is written may turn the noise off"
        yield SpecError(problem, field="privacy.mechanism")


def parse_spec_json(data: bytes) -> Spec:
    """Return the spec whose canonical bytes are exactly `data`.

    Raises:
        SpecError: not a spec, or not its canonical bytes.
    """
    if len(data) > MAX_SPEC_BYTES:
        raise SpecError(f"has {len(data)} bytes; at most {MAX_SPEC_BYTES} are allowed")
    try:
        parse_canonical_json(data)
    except FormatError as error:
        raise SpecError(str(error)) from error
    spec = _validate(data)
    if spec.canonical() != data:
        raise SpecError("is not in its canonical form")
    return spec


def _validate(data: bytes, schema: type[Spec] = Spec) -> Spec:
    try:
        return schema.model_validate_json(data)
    except ValidationError as error:
        raise first_mistake(error, Spec) from error
