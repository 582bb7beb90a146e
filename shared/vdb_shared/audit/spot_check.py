"""The spot check: whether records that an institution opened are those that the log chose from the list it had committed to.

Promises one line for each question, in the words of the audit, and that nothing counts as shown which a file only says. What
it shows is that the list was fixed before anybody knew what would be asked. That the records are real, and that the sums were
made of them, no file can show; the report says so each time.

Source: protos/README.md §10.14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, TypeAlias

from vdb_shared import labels
from vdb_shared.audit.checks.base import Finding, answered, demand, demand_equal, not_proven, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.report import Line, Report, Status
from vdb_shared.audit.sampled_records import check_records, check_total, opened_of, shown_clips
from vdb_shared.audit.spot_log import known_log, note_of
from vdb_shared.audit.spot_report import Opened, SampleReport
from vdb_shared.audit.standing import Standing
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.sample_choice import parse_choice, place_of, verify_choice
from vdb_shared.bundle.sample_file import SampleFile, read_samples
from vdb_shared.bundle.samples import chosen_lines, parse_line, sample_root
from vdb_shared.bundle.statement import Contribution
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.canonical import decode_base64, sha256_digest
from vdb_shared.errors import FormatError, VerificationError
from vdb_shared.transparency.checkpoint import Checkpoint
from vdb_shared.transparency.merkle import check_inclusion, leaf_hash
from vdb_shared.transparency.tiles import Fetch
from vdb_shared.wording import counted


@dataclass(frozen=True, slots=True)
class Asked:
    """What the auditor demands.

    Attributes:
        count: fewest lines, where the list has as many.
        root: digest of the trust root known from elsewhere, or None.
        policy: the auditor's demands on the bundle.
        fetch: reads files of the consortium's log; None without access to it.
        remembered: a checkpoint of the log that the auditor kept, as a note, or the file with which it asked.
    """

    count: int
    root: str | None
    policy: Policy = DEFAULT_POLICY
    fetch: Fetch | None = None
    remembered: bytes | None = None


@dataclass(frozen=True)
class Sampled:
    """A bundle and a file of opened lines under check; each property raises what the question that needs it reports."""

    evidence: Evidence
    data: bytes = field(repr=False)
    asked: Asked

    @cached_property
    def file(self) -> SampleFile:
        """The file, read."""
        return read_samples(self.data)

    @property
    def institution(self) -> str:
        """Whose list it says it opens."""
        return self.file.opening.institution

    @cached_property
    def contribution(self) -> Contribution:
        """That institution's contribution in the bundle.

        Raises:
            FormatError: it is not in the sum.
        """
        if self.institution not in self.evidence.contributions:
            raise FormatError(f"{self.institution} is not in the sum of this result, so it committed to no list in it")
        return self.evidence.contributions[self.institution]

    @cached_property
    def heads(self) -> tuple[Checkpoint, Checkpoint]:
        """The state of the log that chooses, and the later one that the log signed."""
        key = log_key(self.evidence.roster)
        return verify_choice(parse_choice(self.file.choice), place_of(self.evidence.result_proof, key), key)


Attempt: TypeAlias = Callable[[Sampled], Finding]


def _form(sampled: Sampled) -> Finding:
    opening = sampled.file.opening
    for item in opening.opened:
        parse_line(item.line.encode())
    return passed(f"The file opens {counted(len(opening.opened), 'record')}, in the exact format of this version.")


def _signed(sampled: Sampled) -> Finding:
    opening, evidence = sampled.file.opening, sampled.evidence
    demand_equal("S03", "session", evidence.record.open.payload_digest, opening.session)
    contribution = sampled.contribution
    key = evidence.roster.member(sampled.institution).public_key
    sampled.file.envelope.verify(labels.TYPE_STATEMENT, [key])
    fixed = evidence.record.contributions[contribution.institution].payload_digest
    demand_equal("S03", "contribution that fixed the list", fixed, opening.contribution)
    accredited = any(
        member.institution == opening.auditor and member.role == "auditor" for member in evidence.roster.members
    )
    words = (
        "whom the roster names as an auditor" if accredited else "whom the session's roster does not know as an auditor"
    )
    return passed(
        f"{opening.institution} signed the file on {opening.made}, by its clock, for {opening.auditor}, {words}."
    )


def _chosen(sampled: Sampled) -> Finding:
    opening, (head, _) = sampled.file.opening, sampled.heads
    root = sampled.contribution.manifest.sample_root
    found = tuple(item.number for item in opening.opened)
    expected = chosen_lines(
        opening.session, opening.institution, root, (head.size, head.root), opening.total, len(found)
    )
    demand("S04", found == expected, "Other lines are opened than the log chose, or in another order.")
    wanted = min(sampled.asked.count, opening.total)
    demand(
        "S04",
        len(found) >= wanted,
        f"{counted(len(found), 'line')} of {opening.total} opened, {wanted} were asked for.",
    )
    return passed(
        f"The lines are the first {len(found)} that the public log chooses from this list: by its state after entry "
        f"{head.size - 1}, the first one after the result that nobody can foresee or set. It was not there when the list was "
        "fixed, and neither institution nor auditor had a choice."
    )


def _known_log(sampled: Sampled) -> Finding:
    return known_log(sampled.evidence, sampled.heads, sampled.asked.fetch, sampled.asked.remembered)


def _committed(sampled: Sampled) -> Finding:
    opening = sampled.file.opening
    tree = bytes.fromhex(opening.tree)
    demand_equal(
        "S06",
        "digest of the list in the contribution",
        sampled.contribution.manifest.sample_root,
        sample_root(tree, opening.total, bytes.fromhex(opening.salt)),
    )
    for item in opening.opened:
        path = [decode_base64(found) for found in item.path]
        try:
            check_inclusion(leaf_hash(item.line.encode()), item.number, opening.total, path, tree)
        except FormatError as error:
            raise VerificationError(
                f"line {item.number} is not the one that the list has there.", check="S06"
            ) from error
    return passed(
        f"Each opened line is the one that stands in its place in the list of {opening.total} to which {opening.institution} "
        "committed under its signature, before anything was unmasked. None was put there afterwards."
    )


def _fitting(sampled: Sampled) -> Finding:
    opening, evidence = sampled.file.opening, sampled.evidence
    seat = next(item.seat for item in evidence.seal.joins if item.institution == opening.institution)
    place = evidence.terms.position(seat), len(evidence.terms.seats)
    check_total(evidence.spec, place, sampled.contribution.manifest, opening.total)
    sides = check_records(evidence.spec, place, opening)
    found = ", ".join(f"{number} {side}" for side, number in sides.items())
    extent = opened_of(opening)
    repeated = extent.opened - extent.without - extent.clips
    also = (
        f" Failed, and so without a clip: {extent.without}; what they say can be checked by nobody."
        if extent.without
        else ""
    )
    also += f" {repeated} have the clip of another one, made of other words." if repeated else ""
    return passed(f"The records are ones that the spec asks of this institution, none twice: {found or 'none'}.{also}")


def _clips(sampled: Sampled) -> Finding:
    shown, possible = shown_clips(sampled.file)
    if not shown:
        return not_proven(
            f"No clip is shown, of {counted(possible, 'opened record')} with one. Ask the institution for --with-clips."
        )
    return passed(
        f"The frames of {counted(shown, 'clip')} of {possible} are those whose digest stands in the list. What features they "
        "have, and so what they added to the sums, takes the extractors to recompute."
    )


def _summed(sampled: Sampled) -> Finding:
    return not_proven(
        f"That the vector which {sampled.institution} masked is the sum of what the lines in its list added: the vector stays "
        "hidden, with its noise. Nor that nothing is in the list only to fill it: true lines that nothing was measured of make "
        "false ones rarer."
    )


def _real(_sampled: Sampled) -> Finding:
    return not_proven(
        "That the data are real (N01), and that whoever opened them measured them as the spec says. An institution that "
        "conspires with the coordinator can have entries of the log made until they choose harmless lines (N04); alone it "
        "cannot."
    )


@dataclass(frozen=True, slots=True)
class _Question:
    id: str
    title: str
    broken: str
    needs: tuple[str, ...]
    attempt: Attempt


_RESULT: Final = "Result"

_OF_THE_LOG: Final = frozenset({"V62", "V63", "V63.standing", "V65"})
"""Checks of a result that only a log which can be read answers; S05 says so too where it cannot."""

QUESTIONS: Final = (
    _Question("S02", "File", "The file is not one of opened samples in its one form.", (), _form),
    _Question("S03", "Signed", "The file is not signed by the institution for this result.", ("S02",), _signed),
    _Question("S04", "Chosen by the log", "These are not the lines that the log chose.", ("S03",), _chosen),
    _Question("S05", "Log", "The log that chose is not the one that you know.", ("S04",), _known_log),
    _Question("S06", "Committed", "The list is not the one that the institution committed to.", ("S03",), _committed),
    _Question("S07", "Fits the spec", "The list has records that the spec does not ask for.", ("S06",), _fitting),
    _Question("S08", "Clips", "A clip is not the one in the list.", ("S06",), _clips),
    _Question("S09", "In the sum", "", ("S03",), _summed),
    _Question("N01", "Data are real", "", (), _real),
)


def check_samples(bundle: bytes, data: bytes, asked: Asked) -> SampleReport:
    """Return the report of a spot check.

    Args:
        bundle: the published result, which is audited first.
        data: the file that the institution handed over.
        asked: what the auditor demands.

    Raises:
        UsageError: `asked` names two different trust roots.
    """
    report = verify(
        bundle, root=asked.root, policy=asked.policy, fetch=asked.fetch, remembered=note_of(asked.remembered)
    )
    first = result_line(report)
    if first.status is Status.FAIL:
        rest = tuple(_unreached(item, "S01") for item in QUESTIONS)
        return SampleReport(report.bundle, sha256_digest(data), (first, *rest), Opened(0, 0, 0, 0), report.standing)
    evidence = Evidence(bundle, asked.root or asked.policy.root, asked.policy, draft=False)
    return check_opening(evidence, data, asked, first, standing=report.standing)


def result_line(report: Report) -> Line:
    """Return what the audit of the result means for records of it: only what the log did not answer leaves S01 open."""
    failure, words = report.first_failure, "The result itself does not pass its audit."
    if failure is not None:
        return Line("S01", _RESULT, Status.FAIL, words, f"{failure.id}: {failure.sentence} {failure.detail}".strip())
    left = [line for line in report.lines if line.status in (Status.SKIPPED, Status.NOT_REACHED)]
    beside = [line for line in left if line.id not in _OF_THE_LOG]
    if beside:
        return Line("S01", _RESULT, Status.FAIL, words, f"{beside[0].id}: {beside[0].sentence}")
    if left:
        return Line("S01", _RESULT, Status.SKIPPED, f"{left[0].id} of its audit could not be tried. {left[0].sentence}")
    since = next(line for line in report.lines if line.id == "V63.standing")
    words = "The result passes its audit: vdb-audit verify."
    if report.standing is None or not report.standing.mark:
        return Line("S01", _RESULT, Status.PASS, words)
    return replace(since, id="S01", title=_RESULT, status=Status.PASS, sentence=f"{words} {since.sentence}")


def check_opening(
    evidence: Evidence, data: bytes, asked: Asked, *before: Line, standing: Standing | None = None
) -> SampleReport:
    """Return the report of a spot check of a result that was audited already.

    Args:
        evidence: of the result.
        data: the file that the institution handed over.
        asked: what the auditor demands.
        before: what the audit found.
        standing: what was said of the result since, where the audit looked.
    """
    sampled = Sampled(evidence, data, asked)
    lines: dict[str, Line] = {}
    for question in QUESTIONS:
        lines[question.id] = _line(question, sampled, lines)
    readable = lines["S02"].status is Status.PASS
    opened = opened_of(sampled.file.opening) if readable else Opened(0, 0, 0, 0)
    return SampleReport(sha256_digest(evidence.data), sha256_digest(data), (*before, *lines.values()), opened, standing)


def _line(question: _Question, sampled: Sampled, known: Mapping[str, Line]) -> Line:
    for needed in question.needs:
        if known[needed].status in (Status.FAIL, Status.NOT_REACHED):
            return _unreached(question, needed)
    return answered(question.id, question.title, question.broken, lambda: question.attempt(sampled))


def _unreached(question: _Question, needed: str) -> Line:
    sentence = f"Not tried: it builds on {needed}, which did not pass."
    return Line(question.id, question.title, Status.NOT_REACHED, sentence)
