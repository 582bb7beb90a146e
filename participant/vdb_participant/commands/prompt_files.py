"""Reading prompts from where a user keeps them: a packaged suite, a suite file, or a site's own prompts.jsonl.

Promises that every line of prompts.jsonl is read as the agent reads it (`data/prompt_lines.py`), that a line that is no prompt
is a finding and the others are still read, and that nothing leaves the machine. Loads no machine learning framework.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from vdb_participant.data.folder import CLIPS_FOLDER
from vdb_participant.data.prompt_lines import MAX_PROMPTS_BYTES, clip_problem, parse_line
from vdb_shared.errors import DatasetError, UsageError
from vdb_shared.named_files import read_file
from vdb_shared.prompts.counts import Counts
from vdb_shared.prompts.drafts import Draft, Finding
from vdb_shared.prompts.lint import CLIP_TOKENS, T5_TOKENS, lint
from vdb_shared.prompts.suites import MAX_SUITE_BYTES, SUFFIX, Suite, load_suite, read_suite, suite_names
from vdb_shared.prompts.vocabulary import vocabulary
from vdb_shared.wording import counted

LINES_SUFFIX: Final = ".jsonl"

LOCAL: Final = "these prompts were read on this machine alone; nothing was sent"
"""Said after everything that is told of a site's own prompts."""

Form = Literal["text", "toml", "jsonl", "json"]
"""How a suite is shown: for people, as entries of a spec, as lines of prompts.jsonl, or whole with its tags."""


@dataclass(frozen=True, slots=True)
class Examined:
    """Prompts with everything that was found wrong with them.

    Attributes:
        place: path or name, for messages.
        drafts: the prompts that could be read.
        findings: by line.
        private: whether they are a site's own, rather than a suite that anyone may read.
    """

    place: str
    drafts: tuple[Draft, ...]
    findings: tuple[Finding, ...]
    private: bool

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that make the file unusable, or one of its prompts."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "prompts": len(self.drafts),
            "errors": len(self.errors),
            "warnings": len(self.findings) - len(self.errors),
            "findings": [finding.to_json() for finding in self.findings],
        }


def examine(source: str) -> Examined:
    """Return prompts and what is wrong with them.

    Args:
        source: name of a packaged suite, path of a suite file (.toml) or of a site's prompts (.jsonl).

    Raises:
        UsageError: it is none of them, or cannot be read.
    """
    path = Path(source)
    if source in suite_names():
        return _examined_suite(source, load_suite(source))
    if path.suffix == SUFFIX:
        reading = read_suite(_text(path), file=source)
        return _examined_suite(source, reading.suite, reading.findings)
    if path.suffix == LINES_SUFFIX:
        drafts, faults = _read_lines(path)
        return Examined(source, drafts, _sorted((*faults, *lint(drafts))), private=True)
    raise UsageError(
        f"{source}: expected a suite ({', '.join(suite_names())}), a suite file NAME{SUFFIX}, or prompts{LINES_SUFFIX}"
    )


def suite_prompts(source: str, wanted: Sequence[str] = ()) -> tuple[Draft, ...]:
    """Return the prompts of a suite that is in order.

    Args:
        source: name of a packaged suite, or path of a suite file.
        wanted: conditions NAME=VALUE on tags, all of which hold for every prompt returned.

    Raises:
        UsageError: see `examine`; also a suite with errors, a site's own prompts, which stay where they are, a condition that
            no tag fits, or no prompt that meets them all.
    """
    examined = examine(source)
    if examined.private:
        raise UsageError(f"{source}: holds prompts of a site, which are for no spec; expected a suite")
    if examined.errors:
        raise UsageError(f"{examined.errors[0].told(source)}; see `vdb-participant prompts lint`")
    conditions = [_condition(item) for item in wanted]
    found = tuple(
        draft for draft in examined.drafts if all(value in _tags(draft).get(tag, ()) for tag, value in conditions)
    )
    if not found:
        missing = f"no prompt has all of {', '.join(wanted)}" if wanted else "holds no prompt"
        raise UsageError(f"{source}: {missing}")
    return found


def written(drafts: Iterable[Draft], form: Form) -> str:
    """Return prompts as text that ends with a line break."""
    match form:
        case "toml":
            entries = (f"[[prompts]]\nid = {_quoted(draft.id)}\ntext = {_quoted(draft.text)}\n" for draft in drafts)
            return "\n".join(entries)
        case "jsonl":
            return "".join(json.dumps({"id": d.id, "prompt": d.text}, ensure_ascii=False) + "\n" for d in drafts)
        case "json":
            return json.dumps([_whole(draft) for draft in drafts], ensure_ascii=False) + "\n"
        case "text":
            return "".join(f"{draft.id}: {draft.text}\n    {_tag_words(draft)}\n" for draft in drafts)


def suite_facts() -> list[dict[str, object]]:
    """Return name, size, title and purpose of every packaged suite."""
    suites = {name: load_suite(name) for name in suite_names()}
    return [
        {"name": name, "prompts": len(suite.prompts), "title": suite.title, "purpose": suite.purpose}
        for name, suite in suites.items()
    ]


def print_findings(console: Console, examined: Examined) -> None:
    """Print one line for each finding, then how many there are."""
    for finding in examined.findings:
        console.print(finding.told(examined.place))
    errors, warnings = len(examined.errors), len(examined.findings) - len(examined.errors)
    numbers = (counted(len(examined.drafts), "prompt"), counted(errors, "error"), counted(warnings, "warning"))
    console.print(f"{examined.place}: {', '.join(numbers)}")
    _say_local(console, examined)


def print_counts(console: Console, examined: Examined, counts: Counts) -> None:
    """Print what a set of prompts consists of."""
    console.print(
        f"{examined.place}: {counted(counts.prompts, 'prompt')}, {counts.distinct} distinct, "
        f"{counted(counts.vocabulary, 'different word')}"
    )
    if examined.errors:
        console.print(
            f"{counted(len(examined.errors), 'error')}, which `vdb-participant prompts lint {examined.place}` names; lines "
            "that cannot be read are not counted here"
        )
    if counts.words is not None:
        words = counts.words
        console.print(f"words: {words.fewest} to {words.most}, median {words.median:g}, mean {words.mean:.1f}")
    console.print(
        f"probably too long: {counts.beyond_clip} for CLIP ({CLIP_TOKENS} tokens), {counts.beyond_t5} for T5 ({T5_TOKENS})"
    )
    if counts.tags:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading in ("Tag", "Values used", "Prompts with each", "Without"):
            table.add_column(heading, justify="right" if heading == "Without" else "left")
        for name, tag in counts.tags.items():
            each = ", ".join(f"{value}: {number}" for value, number in tag.values.items() if number)
            table.add_row(name, f"{tag.used} of {len(tag.values)}", each or "–", str(tag.without))
        console.print(table)
    _say_local(console, examined)


def _say_local(console: Console, examined: Examined) -> None:
    if examined.private:
        console.print(LOCAL)


def _examined_suite(place: str, suite: Suite, faults: tuple[Finding, ...] = ()) -> Examined:
    found = (*faults, *lint(suite.prompts, theme=suite.theme))
    return Examined(place, suite.prompts, _sorted(found), private=False)


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: finding.line or 0))


def _read_lines(path: Path) -> tuple[tuple[Draft, ...], list[Finding]]:
    drafts: list[Draft] = []
    faults: list[Finding] = []
    for number, raw in enumerate(read_file(path, MAX_PROMPTS_BYTES).split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            line = parse_line("", raw)
        except DatasetError as error:
            faults.append(Finding(number, "error", "form", str(error).removeprefix(": ")))
        else:
            drafts.append(Draft(line.id, line.prompt, line=number))
            if line.clip is not None and (problem := clip_problem(path.parent / CLIPS_FOLDER, line.clip)):
                faults.append(Finding(number, "error", "clip", problem))
    return tuple(drafts), faults


def _text(path: Path) -> str:
    try:
        return read_file(path, MAX_SUITE_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text") from error


def _condition(wanted: str) -> tuple[str, str]:
    name, _, value = wanted.partition("=")
    tag = vocabulary().get(name)
    if tag is None:
        raise UsageError(f"--tag {wanted}: expected NAME=VALUE with one of the tags {', '.join(vocabulary())}")
    if tag.value(value) is None:
        raise UsageError(f"--tag {wanted}: {name} is one of {', '.join(item.name for item in tag.values)}")
    return name, value


def _tags(draft: Draft) -> Mapping[str, tuple[str, ...]]:
    return draft.tags or {}


def _whole(draft: Draft) -> dict[str, object]:
    return {"id": draft.id, "text": draft.text, "tags": {name: list(values) for name, values in _tags(draft).items()}}


def _tag_words(draft: Draft) -> str:
    return ", ".join(f"{name} {' and '.join(values)}" for name, values in _tags(draft).items())


def _quoted(text: str) -> str:
    """Return a text as a TOML string: JSON's escapes are among TOML's, and texts with control characters were refused."""
    return json.dumps(text, ensure_ascii=False)
