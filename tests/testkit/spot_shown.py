"""What a spot check says of honest answers and of wrong ones, word for word, and in the name of which question."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

from testkit.evidence import but_for
from testkit.logs import MadeLog
from testkit.opened_lines import SEAT, Story, entry_of, growth_of, kept_list, own_checkpoint, root_of, shown_of
from testkit.statements import INSTITUTIONS, auditor_key
from vdb_participant.session.proving import answer
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.report import Status
from vdb_shared.audit.spot_check import QUESTIONS, Asked, Sampled, check_opening, check_samples
from vdb_shared.audit.spot_report import SampleReport
from vdb_shared.bundle.sample_choice import SampleChoice
from vdb_shared.bundle.sample_file import OpenedWords
from vdb_shared.bundle.samples import parse_line
from vdb_shared.canonical import encode_base64, sha256_digest
from vdb_shared.errors import UnreachableError, VdbError, VerificationError
from vdb_shared.roster import Member

OTHER: Final = "sha256:" + "7" * 64


@cache
def story() -> Story:
    """Return an institution that kept a list, and its session."""
    return Story(kept_list())


@cache
def evidence() -> Evidence:
    """Return what the bundle of that session says."""
    return Evidence(story().session.bundle(), story().session.root, DEFAULT_POLICY, draft=False)


@cache
def opened(count: int, *, clips: bool) -> tuple[Any, Mapping[int, bytes]]:
    """Return what the institution opens honestly, and the clips that it shows."""
    return story().opened(story().question(count, clips=clips))


@cache
def answered(count: int = 12, *, clips: bool = False) -> bytes:
    """Return an honest answer."""
    opening, shown = opened(count, clips=clips)
    return story().signed(opening, dict(shown))


def instead(choice: SampleChoice | None = None, count: int = 12, *, clips: bool = False, **fields: Any) -> bytes:
    """Return an answer that says something else, signed by the institution all the same."""
    opening, shown = opened(count, clips=clips)
    return story().signed(opening.model_copy(update=fields), dict(shown), None if choice is None else choice.encode())


def line_instead(place: int, **fields: Any) -> tuple[Any, ...]:
    """Return opened lines of which one says something else."""
    lines = list(opened(12, clips=False)[0].opened)
    lines[place] = lines[place].model_copy(update=fields)
    return tuple(lines)


def private_place() -> int:
    """Return the place of an opened line whose words are not told."""
    return next(place for place, item in enumerate(opened(12, clips=False)[0].opened) if item.words is None)


def public_place() -> int:
    """Return the place of an opened line whose words are told."""
    return next(place for place, item in enumerate(opened(12, clips=False)[0].opened) if item.words is not None)


def log_with(*entries: bytes) -> MadeLog:
    """Return the log with other entries."""
    return MadeLog(story().log.consortium, story().log.signer, list(entries))


def fetched(log: MadeLog) -> Callable[[str], bytes]:
    """Return what reads a log's files."""
    return log.files().__getitem__


def honest() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Return honest answers and what is asked, by story."""
    log = story().log
    return {
        "offline": (answered(), {}),
        "with clips and the log": (answered(clips=True), {"fetch": fetched(log)}),
        "with the checkpoint from which was asked": (answered(), {"remembered": story().choice().encode()}),
        "with a file from which was asked before the log grew": (
            answered(),
            {"remembered": Story(story().kept, later=story().later[:2]).choice().encode()},
        ),
        "with a newer checkpoint and the log": (
            answered(),
            {"remembered": log.files()["checkpoint"], "fetch": fetched(log)},
        ),
        "with a checkpoint of the very state that chooses": (
            answered(),
            {"remembered": log_with(*log.entries[:3]).files()["checkpoint"]},
        ),
        "with a checkpoint that tells nothing": (
            answered(),
            {"remembered": log_with(*log.entries[:1]).files()["checkpoint"]},
        ),
        "with an older copy of the log": (answered(), {"fetch": fetched(log_with(*log.entries[:4]))}),
        "with a log that cannot be reached": (answered(), {"fetch": _unreachable}),
        "with a checkpoint of nobody": (answered(), {"remembered": own_checkpoint(story(), log)}),
        "one line": (answered(1), {"count": 1}),
        "all lines": (answered(200), {"count": 200}),
        "no line": (instead(opened=()), {"count": 0}),
    }


def wrong() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Return answers that must not pass and what is asked, by story."""
    log, good = story().log, story().choice()
    public, private = public_place(), private_place()
    lines = opened(12, clips=False)[0].opened
    words, clip = lines[public].words, opened(12, clips=True)[0]
    shown = next(place for place, item in enumerate(clip.opened) if item.clip is not None)
    swapped = parse_line(lines[0].line.encode()).model_copy(update={"shares": OTHER}).encode().decode()
    frames = {number: bytes(len(data)) for number, data in opened(12, clips=True)[1].items()}
    later = SampleChoice(
        good.checkpoint,
        root_of(log.entries[:4]),
        shown_of(log.entries, 2, 4),
        growth_of(log.entries, 2, 4),
        growth_of(log.entries, 4, 5),
    )
    return {
        "no file": (b"", {}),
        "another session": (instead(session=OTHER), {}),
        "another contribution": (instead(contribution=OTHER), {}),
        "an institution that is not in the sum": (instead(institution="nobody-here"), {}),
        "somebody else's signature": (_signed_by(0), {}),
        "other lines": (instead(opened=(lines[1], lines[0], *lines[2:])), {}),
        "fewer lines": (answered(5), {}),
        "a later state of the log": (instead(later), {}),
        "another entry in the place of the one that chooses": (
            instead(replace(good, entries=(replace(good.entries[0], entry=log.entries[3]),))),
            {},
        ),
        "a checkpoint of its own": (instead(replace(good, checkpoint=own_checkpoint(story(), log))), {}),
        "a checkpoint from before the result": (
            instead(replace(good, checkpoint=log_with(*log.entries[:2]).files()["checkpoint"])),
            {},
        ),
        "another log than the auditor knows": (answered(), {"fetch": fetched(log_with(*log.entries[:2], b"x", b"y"))}),
        "another log than the auditor knows, which has grown": (
            answered(),
            {"fetch": fetched(log_with(*log.entries[:3], b"x", b"y", b"z"))},
        ),
        "another state than the auditor kept": (
            answered(),
            {"remembered": log_with(*log.entries[:2], b"x").files()["checkpoint"]},
        ),
        "another newest state than the auditor kept": (
            answered(),
            {"remembered": log_with(*log.entries[:4], b"x").files()["checkpoint"]},
        ),
        "a file with which another log chose": (
            answered(),
            {"remembered": Story(story().kept, later=(entry_of("another"),)).choice().encode()},
        ),
        "a file with which a log was asked that grew otherwise": (
            answered(),
            {"remembered": Story(story().kept, later=(story().later[0], b"x", b"y")).choice().encode()},
        ),
        "a line that is no record": (instead(opened=line_instead(0, line="{}")), {}),
        "another salt": (instead(salt="0" * 64), {}),
        "another line in a place": (instead(opened=line_instead(0, line=swapped)), {}),
        "a proof of another line": (instead(opened=line_instead(0, path=lines[1].path)), {}),
        "a proof that is none": (
            instead(opened=line_instead(0, path=(encode_base64(bytes(32)), *lines[0].path[1:]))),
            {},
        ),
        "other words": (
            instead(opened=line_instead(public, words=OpenedWords(text="harmless", salt=words.salt))),
            {},
        ),
        "words that are not told": (instead(opened=line_instead(public, words=None)), {}),
        "words of a private record with another salt": (
            instead(opened=line_instead(private, words=OpenedWords(text="patient", salt=words.salt))),
            {},
        ),
        "other frames": (story().signed(clip, frames), {}),
        "frames of another shape": (
            story().signed(
                clip.model_copy(
                    update={
                        "opened": tuple(
                            item.model_copy(update={"clip": item.clip.model_copy(update={"height": 4, "width": 3})})
                            if place == shown
                            else item
                            for place, item in enumerate(clip.opened)
                        )
                    }
                ),
                dict(opened(12, clips=True)[1]),
            ),
            {},
        ),
    }


def _unreachable(_path: str) -> bytes:
    raise UnreachableError("the log cannot be reached")


@cache
def _signed_by(seat: int) -> bytes:
    opening, shown = opened(12, clips=False)
    return answer(opening, dict(shown), story().question(), story().session.key(seat))


def report_of(file: bytes, found: Evidence | None = None, **asked: Any) -> SampleReport:
    """Return what an auditor says of an answer."""
    return check_opening(found or evidence(), file, replace(Asked(12, story().session.root), **asked))


def extent_of(report: SampleReport) -> str:
    """Return how much of a list a report says was opened, and its exit status."""
    extent = report.extent
    return (
        f"{extent.opened} of {extent.total}, {extent.without} without a clip, {extent.clips} different clips, "
        f"exit status {report.exit_code}"
    )


def text_of(report: SampleReport) -> str:
    """Return all that a report says."""
    lines = (
        f"{line.id} {line.status.value}: {line.title}. {line.sentence} {line.detail}".strip() for line in report.lines
    )
    opened_words = extent_of(report)
    return "\n".join((*lines, report.verdict, opened_words)) + "\n"


def brief(report: SampleReport) -> str:
    """Return the outcomes of a report and what it says where it fails."""
    outcomes = ", ".join(f"{line.id} {line.status.value}" for line in report.lines)
    said = [f"{line.sentence} {line.detail}" for line in report.lines if line.status is Status.FAIL]
    reached = {line.sentence for line in report.lines if line.status is Status.NOT_REACHED}
    opened_words = extent_of(report)
    return "\n".join((outcomes, *said, *sorted(reached), report.verdict, opened_words)) + "\n"


def in_whose_name(file: bytes, report: SampleReport, **asked: Any) -> str:
    """Return the class of the error of the first question that fails, and which question it names."""
    failing = next(line.id for line in report.lines if line.status is Status.FAIL)
    question = next(item for item in QUESTIONS if item.id == failing)
    try:
        question.attempt(Sampled(evidence(), file, replace(Asked(12, story().session.root), **asked)))
    except VerificationError as error:
        return f"{failing} fails in the name of {error.check}"
    except VdbError as error:
        return f"{failing} runs into {type(error).__name__}"
    raise ValueError(f"{failing} does not fail alone")


def accredited() -> Mapping[str, Evidence]:
    """Return the same result with auditors in the roster, by story."""
    roster = evidence().roster
    auditor = Member(
        institution="office-of-audits",
        role="auditor",
        seat=None,
        statement_key=auditor_key("spot").public_key.raw.hex(),
        spiffe_id="spiffe://testbed/office-of-audits",
    )
    other = auditor.model_copy(update={"institution": "another-office"})
    return {
        f"with {' and '.join(item.institution for item in more)} as auditors": but_for(
            evidence(), roster=roster.model_copy(update={"members": (*roster.members, *more)})
        )
        for more in ((auditor,), (other,), (other, auditor))
    }


def spot() -> dict[str, str]:
    """Return what spot checks say: of honest answers, of wrong ones, and of results that do not pass themselves."""
    parts = [f"== {name}\n{text_of(report_of(file, **asked))}" for name, (file, asked) in honest().items()]
    for name, found in accredited().items():
        parts.append(f"== {name}\n{report_of(answered(), found).lines[1].sentence}\n")
    member = instead(auditor=INSTITUTIONS[SEAT - 1])
    parts.append(f"== made for a participant\n{report_of(member).lines[1].sentence}\n")
    refused = []
    for name, (file, asked) in wrong().items():
        report = report_of(file, **asked)
        refused.append(f"== {name}\n{brief(report)}{in_whose_name(file, report, **asked)}\n")
    spec = evidence().spec
    narrow = spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"maximum_records": 1})})
    filled = report_of(answered(), but_for(evidence(), spec=narrow))
    refused.append(f"== a longer list than the spec leaves room for\n{brief(filled)}")
    return {"spot-answers-honest.txt": "\n".join(parts), "spot-answers-wrong.txt": "\n".join(refused)}


def spot_of_whole_results() -> dict[str, str]:
    """Return what a spot check says that audits the result first: one that passes, one that fails, one under another root."""
    session, file = story().session, answered()
    bundle = session.bundle()
    broken = session.edited({"metrics.json": b"{}"})
    given = {
        "a result that passes": (bundle, Asked(12, session.root)),
        "a root in the policy": (bundle, Asked(12, None, Policy(root=session.root))),
        "a result that fails": (broken, Asked(12, session.root)),
        "another root": (bundle, Asked(12, OTHER)),
        "a policy that it does not meet": (bundle, Asked(12, session.root, Policy(minimum_cohort=99))),
    }
    parts = [f"== {name}\n{brief(check_samples(data, file, asked))}" for name, (data, asked) in given.items()]
    whole = check_samples(bundle, file, Asked(12, session.root)).to_json()
    told = {name: value for name, value in whole.items() if name != "checks"}
    first = json.dumps([told, whole["checks"][0]], indent=1, ensure_ascii=False)
    digests = f"bundle {sha256_digest(bundle)}\nfile {sha256_digest(file)}\nsame in a report without the audit: " + str(
        {report_of(file).bundle, report_of(file).file} == {whole["bundle"], whole["file"]}
    )
    failed = check_samples(broken, file, Asked(12, session.root))
    digests += f"\nof a result that fails: bundle {failed.bundle}, file {failed.file}"
    return {"spot-results.txt": "\n".join(parts) + f"\n{first}\n{digests}\n"}
