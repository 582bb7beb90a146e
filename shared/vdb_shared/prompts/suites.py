"""Suites of prompts: those that come with this package, and a consortium's own files of the same form.

Promises that a file that cannot be read as a suite is refused with its line, and that a prompt that cannot is a finding
while the others are read. Leaves mistakes inside prompts to `lint.py`.

    version = "vdb-prompts/1"
    title = "…"
    purpose = "…"
    theme = ["camera"]          every prompt has one of these tags at least; may be left out
    include = ["red-kite"]      ids of prompts of this package's suites; may be left out
    [[prompts]]                 id, text, tags = { name = "value", other = ["two", "values"] }
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from vdb_shared.errors import UsageError
from vdb_shared.fields import Text
from vdb_shared.prompts.drafts import Draft, Finding
from vdb_shared.schema_words import first_field, first_mistake
from vdb_shared.spec import MAX_SPEC_BYTES
from vdb_shared.toml_lines import line_of, toml_problem

SUFFIX: Final = ".toml"

MAX_SUITE_BYTES: Final = MAX_SPEC_BYTES
"""A larger suite would not fit into a spec."""

_TABLE = re.compile(r"\s*\[\[\s*prompts\s*\]\]")


def _values(value: object) -> object:
    """Return the values of a tag as a tuple of texts: TOML may have one text, one number, or a list of them."""
    items = value if isinstance(value, list) else [value]
    return tuple(str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items)


class PromptFile(BaseModel):
    """One table [[prompts]] of a suite file."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    id: str
    text: str
    tags: Mapping[str, Annotated[tuple[str, ...], BeforeValidator(_values)]] = {}


class SuiteFile(BaseModel):
    """A suite file; its prompts are read one by one."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-prompts/1"]
    title: Text
    purpose: Text
    theme: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    prompts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Suite:
    """Prompts that belong together.

    Attributes:
        title, purpose: for people.
        theme: tags of which every prompt has one at least; nothing when the suite has no theme.
        prompts: included ones first, then its own, in the order of the file.
    """

    title: str
    purpose: str
    theme: tuple[str, ...]
    prompts: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A suite as far as it could be read, and the findings about what could not."""

    suite: Suite
    findings: tuple[Finding, ...]


def suite_names() -> tuple[str, ...]:
    """Return the names of the packaged suites."""
    folder = resources.files("vdb_shared").joinpath("prompts", "suites")
    return tuple(sorted(item.name.removesuffix(SUFFIX) for item in folder.iterdir() if item.name.endswith(SUFFIX)))


def load_suite(name: str) -> Suite:
    """Return a packaged suite.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in suite_names():
        raise UsageError(f"{name}: no such suite; there are {', '.join(suite_names())}")
    return read_suite(_packaged(name), file=name + SUFFIX).suite


def read_suite(text: str, *, file: str) -> Reading:
    """Return the suite in a TOML text.

    Args:
        text: the whole file.
        file: its name, for messages.

    Raises:
        UsageError: the text is no suite file; names line and field.
    """
    header = _header(text, file)
    drafts: list[Draft] = []
    findings: list[Finding] = []
    for name in header.include:
        found = _packaged_prompts().get(name)
        if found is None:
            words = f"include: {name} is the id of no prompt of the packaged suites; see `prompts show`"
            findings.append(Finding(line_of(text, "include"), "error", "include", words))
        else:
            drafts.append(Draft(found.id, found.text, found.tags, line_of(text, "include")))
    own, faults = _own(text, header)
    suite = Suite(header.title, header.purpose, header.theme, (*drafts, *own))
    return Reading(suite, (*findings, *faults))


def _header(text: str, file: str) -> SuiteFile:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: {toml_problem(text, error)}") from error
    try:
        return SuiteFile.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        field, problem = first_field(error)
        line = line_of(text, field)
        place = file if line is None else f"{file}:{line}"
        raise UsageError(f'{place}: {field}: {problem}; a suite has version "vdb-prompts/1", title, purpose') from error


def _own(text: str, header: SuiteFile) -> tuple[list[Draft], list[Finding]]:
    """Return the prompts that stand in the file itself, and what is wrong with tables that are none."""
    lines: list[int | None] = [n for n, line in enumerate(text.splitlines(), start=1) if _TABLE.match(line)]
    if len(lines) != len(header.prompts):
        lines = [None] * len(header.prompts)  # written in another way than as tables of their own
    drafts: list[Draft] = []
    findings: list[Finding] = []
    for line, table in zip(lines, header.prompts, strict=True):
        try:
            found = PromptFile.model_validate(table)
        except ValidationError as error:
            words = f"{first_mistake(error)}; expected id, text and tags"
            findings.append(Finding(line, "error", "form", words))
        else:
            drafts.append(Draft(found.id, found.text, dict(found.tags), line))
    return drafts, findings


@lru_cache(maxsize=1)
def _packaged_prompts() -> Mapping[str, Draft]:
    """Return the prompts that stand in packaged suites themselves, by id."""
    found: dict[str, Draft] = {}
    for name in suite_names():
        text = _packaged(name)
        found |= {draft.id: draft for draft in _own(text, _header(text, name + SUFFIX))[0]}
    return found


def _packaged(name: str) -> str:
    return resources.files("vdb_shared").joinpath("prompts", "suites", name + SUFFIX).read_text(encoding="utf-8")
