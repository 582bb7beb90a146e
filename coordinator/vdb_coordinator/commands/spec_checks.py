"""Whether a spec is in order: its fields, its metrics, and whether its promise can be kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vdb_shared.clips import check_clips
from vdb_shared.errors import SpecError, UsageError
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import MAX_SPEC_BYTES, Spec, parse_spec_toml
from vdb_shared.toml_lines import line_of
from vdb_shared.weights import UNPINNED

_PIN: Final = "write the digest of the agreed weights here, or start with `spec init PRESET --models DIR`, which does"


def checked(path: Path) -> tuple[Spec, SealTerms]:
    """Return a spec from a file, and its terms if just enough institutions join.

    Raises:
        SpecError, PrivacyError: a mistake; names file, line and field where it can.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_SPEC_BYTES:
        raise SpecError(f"has {len(content)} bytes; at most {MAX_SPEC_BYTES} are allowed", file=str(path))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"is not UTF-8: {error}", file=str(path)) from error
    try:
        spec = parse_spec_toml(text, file=str(path))
        check_clips(spec)
        return spec, seal_terms(spec, range(spec.cohort.minimum))
    except SpecError as error:
        line = error.line or (line_of(text, error.field) if error.field else None)
        problem = f"{error.problem}; {_PIN}" if UNPINNED in error.problem else error.problem
        raise SpecError(problem, file=str(path), line=line, field=error.field) from error
