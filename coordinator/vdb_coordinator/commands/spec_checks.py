"""Whether a spec is in order: its fields, its metrics, whether its promise can be kept, and what could be better."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from pydantic import model_validator

from vdb_coordinator.commands.spec_models import model_advice, nearest_model
from vdb_shared.audit.policy import readers_refuse
from vdb_shared.clips import clip_mistakes
from vdb_shared.errors import PrivacyError, SpecError, UsageError
from vdb_shared.layout import layout_mistakes
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.conversion import FORMULAS
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import MAX_SPEC_BYTES, Spec, incoherences, noise_mistakes, spec_of, spec_values
from vdb_shared.text_files import utf8_problem
from vdb_shared.toml_lines import line_of
from vdb_shared.weights import UNPINNED

COMPANION: Final = "mmd-rff@1"
"""Asked for beside dp-fvd@1."""

_PIN: Final = "write the digest of the agreed weights here, or start with `spec init PRESET --models DIR`, which does"

STAND_IN: Final = f"sha256:{'0' * 64}"
"""For a digest that is none: nothing else of a spec depends on what it is."""

_PROMISED: Final = re.compile(r"privacy\.\w+")

_MODEL_ID: Final = re.compile(r"models\.\d+\.id")

_MISSPELT: Final = re.compile(r"is not a field of a spec(?:; did you mean (\w+)\?)?")


def advice(spec: Spec) -> list[str]:
    """Return what a lead should consider about a spec that is in order: one sentence each."""
    companions = {metric.extractor for metric in spec.metrics if metric.id == COMPANION}
    found = [*model_advice(spec), *filter(None, [readers_refuse(spec.privacy.epsilon, spec.privacy.delta)])]
    for metric in spec.metrics:
        if not definition_of(metric.id).public_map:
            continue
        if metric.extractor not in companions:
            found.append(
                f"{metric.id} on {metric.extractor} has no companion; add {COMPANION} with the same extractor, so that two "
                "estimates that fail in different ways can be compared"
            )
        if metric.inputs == "private":
            found.append(
                f"{metric.id} asks for clips of private prompts, so every model's side carries noise; with public prompts only "
                "the reference side does, and far fewer records serve"
            )
    return found


def checked(path: Path) -> tuple[Spec, SealTerms]:
    """Return a spec from a file, and its terms if just enough institutions join.

    Raises:
        SpecError, PrivacyError: a mistake; names file, line and field where it can.
    """
    return checked_text(read_spec(path), str(path))


def checked_text(text: str, file: str) -> tuple[Spec, SealTerms]:
    """Return a spec from its text, and its terms if just enough institutions join.

    Raises:
        SpecError, PrivacyError: a mistake, with all others that can be told beside it; names file, line and field where it
            can.
    """
    try:
        values = spec_values(text, file=file)
        _check_all(values)
        spec = spec_of(values)
        terms = seal_terms(spec, range(spec.cohort.minimum))
        account(terms.calibration, FORMULAS)
        return spec, terms
    except SpecError as error:
        first, *others = (_placed(mistake, text, file) for mistake in (error, *error.others))
        raise SpecError(first.problem, file=file, line=first.line, field=first.field, others=tuple(others)) from error
    except PrivacyError as error:  # a promise that nobody can keep: of the file too, if no mistake in it
        field, colon, problem = str(error).partition(": ")
        named = _PROMISED.fullmatch(field) is not None and bool(colon)
        mistake = SpecError(problem, field=field) if named else SpecError(str(error))
        raise PrivacyError(str(_placed(mistake, text, file))) from error


class _Draft(Spec):
    """A spec whose fields need not go together, so that all mistakes of a file are told at once."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        return self


def _check_all(values: dict[str, Any]) -> None:
    """Check fields, and what follows from them, as far as it can be said in spite of mistakes in fields.

    Raises:
        SpecError: the first mistake, with the others.
    """
    found: list[SpecError] = []
    try:
        draft = spec_of(values, _Draft)
    except SpecError as error:
        found += [_with_known_model(mistake, values) for mistake in (error, *error.others)]
        try:
            draft = spec_of(_mended(values, found), _Draft)
        except SpecError:  # what follows from fields that say nothing is told once they do
            _raise_all(found)
    found += (SpecError(problem, field=field) for field, _, problem in map(_parted, incoherences(draft)))
    found += (*noise_mistakes(draft), *clip_mistakes(draft), *layout_mistakes(draft))
    if found:
        _raise_all(found)


def _raise_all(found: Sequence[SpecError]) -> NoReturn:
    """Raise the mistakes that were found as one, each once."""
    first, *others = {(mistake.field, mistake.problem): mistake for mistake in found}.values()
    raise SpecError(first.problem, line=first.line, field=first.field, others=tuple(others))


def _parted(told: str) -> tuple[str, str, str]:
    return told.partition(": ")


def _mended(values: dict[str, Any], mistakes: Sequence[SpecError]) -> dict[str, Any]:
    """Return values with stand-ins where nothing else depends on what is wrong: digests, and fields that are none."""
    draft = deepcopy(values)
    for mistake in mistakes:
        *path, name = mistake.field.split(".")
        section = _at(draft, path)
        if not isinstance(section, dict) or name not in section:
            continue
        if name in {"manifest", "condition"}:
            section[name] = STAND_IN
        elif meant := _MISSPELT.fullmatch(mistake.problem):
            value = section.pop(name)
            if meant[1]:
                section.setdefault(meant[1], value)
    return draft


def _at(values: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path of names and numbers, or None."""
    for part in path:
        if isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            values = values.get(part) if isinstance(values, dict) else None
    return values


def _with_known_model(mistake: SpecError, values: dict[str, Any]) -> SpecError:
    """Return a mistake in a model's id with the known model that was probably meant."""
    found = _at(values, mistake.field.split("."))
    if not _MODEL_ID.fullmatch(mistake.field) or not isinstance(found, str):
        return mistake
    hint = f"; {nearest}" if (nearest := nearest_model(found)) else ""
    return SpecError(f"{mistake.problem}{hint}", field=mistake.field)


def _placed(mistake: SpecError, text: str, file: str) -> SpecError:
    """Return a mistake with its place in the file, and with what to do where weights are not pinned yet."""
    line = mistake.line or (line_of(text, mistake.field) if mistake.field else None)
    problem = f"{mistake.problem}; {_PIN}" if UNPINNED in mistake.problem else mistake.problem
    return SpecError(problem, file=file, line=line, field=mistake.field)


def read_spec(path: Path) -> str:
    """Return the text of a spec's file.

    Raises:
        UsageError: it cannot be read, is too large or no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_SPEC_BYTES:
        raise SpecError(f"has {len(content)} bytes; at most {MAX_SPEC_BYTES} are allowed", file=str(path))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(utf8_problem(error), file=str(path)) from error
