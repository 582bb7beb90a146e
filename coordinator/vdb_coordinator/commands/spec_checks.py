"""Whether a spec is in order: its fields, its metrics, whether its promise can be kept, and what could be better."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vdb_shared.audit.policy import readers_refuse
from vdb_shared.clips import check_clips
from vdb_shared.errors import SpecError, UsageError
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.conversion import FORMULAS
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import MAX_SPEC_BYTES, Spec, parse_spec_toml
from vdb_shared.text_files import utf8_problem
from vdb_shared.toml_lines import line_of
from vdb_shared.weights import UNPINNED

COMPANION: Final = "mmd-rff@1"
"""Asked for beside dp-fvd@1."""

_PIN: Final = "write the digest of the agreed weights here, or start with `spec init PRESET --models DIR`, which does"


def advice(spec: Spec) -> list[str]:
    """Return what a lead should consider about a spec that is in order: one sentence each."""
    companions = {metric.extractor for metric in spec.metrics if metric.id == COMPANION}
    found = list(filter(None, [readers_refuse(spec.privacy.epsilon, spec.privacy.delta)]))
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
        SpecError, PrivacyError: a mistake; names file, line and field where it can.
    """
    try:
        spec = parse_spec_toml(text, file=file)
        check_clips(spec)
        terms = seal_terms(spec, range(spec.cohort.minimum))
        account(terms.calibration, FORMULAS)
        return spec, terms
    except SpecError as error:
        first, *others = (_placed(mistake, text, file) for mistake in (error, *error.others))
        raise SpecError(first.problem, file=file, line=first.line, field=first.field, others=tuple(others)) from error


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
