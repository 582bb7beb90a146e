"""The files of docs/audit-guide.md, and what its commands print: so that the guide shows what the program says.

PYTHONPATH=shared:coordinator:participant:tests python -m testkit.guide --files FOLDER    the files, to follow the guide
PYTHONPATH=shared:coordinator:participant:tests python -m testkit.guide --write           the guide's outputs, made anew
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from testkit.audit_cli import vdb_audit
from testkit.bundles import SmallSession, logged, small_session
from testkit.disputed import dispute
from testkit.logs import MadeLog
from testkit.opened_lines import Story, entry_of, kept_list
from testkit.small_specs import small_spec
from testkit.statements import coordinator_key
from vdb_shared.audit.auditor_key import public_pem
from vdb_shared.bundle.archive import read_archive, write_archive
from vdb_shared.bundle.logged import OpenedRecord, encode_record, parse_record
from vdb_shared.bundle.messages import is_message
from vdb_shared.bundle.record import AGGREGATE
from vdb_shared.bundle.samples import parse_line
from vdb_shared.canonical import sha256_digest
from vdb_shared.identity import StatementKey
from vdb_shared.transparency.note import ED25519, NoteKey

GUIDE: Final = Path(__file__).parents[2] / "docs" / "audit-guide.md"

_BLOCK: Final = re.compile(r"^```console\n\$ (.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_NOW: Final = re.compile(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z, by the auditor's clock")

ORIGIN: Final = "testbed/vdb-log"


def spring() -> SmallSession:
    """The session of the guide: five institutions, of which one drops out."""
    return small_session()


def autumn() -> SmallSession:
    """The same institutions again, with more guidance and a smaller ε; one model does better on one metric."""
    generation = "{ steps = 2, guidance = 4.0, samples = 10, private_share = 1 }"
    privacy = "{ epsilon = 6, delta = 1e-6, maximum_records = 2000 }"
    spec = small_spec(title='"Tiny models, autumn"', generation=generation, privacy=privacy)
    plain = small_session(0, spec)
    lanes = plain.terms.layout.slice_of("public/tiny-wan-b/temporal-flickering@1/moments")
    unit = 2**plain.terms.calibration.public_exponent
    return small_session(0, spec, surplus=((lanes.start, 13 * unit // 4), (lanes.start + 1, 39 * unit // 8)))


def make_files(folder: Path) -> None:
    """Write bundles, an auditor's key, a policy, logs and statements into a folder."""
    session = spring()
    files = {
        "spring.vdbb": session.bundle(),
        "autumn.vdbb": autumn().bundle(),
        "tampered.vdbb": session.edited({"metrics.json": session.members["metrics.json"].replace(b"0.7", b"0.9", 1)}),
        "strict.toml": b"maximum_epsilon = 4\nminimum_cohort = 5\n",
        "auditor.pem": auditor().to_pem(None),
        "auditor.pub.pem": public_pem(auditor().public_key),
        **{f"log/{name}": data for name, data in log_files(session).items()},
        "withdrawn.vdbb": dispute(0).first.bundle(),
        "replacement.vdbb": dispute(0).second.bundle(),
        **{f"later/{name}": data for name, data in dispute(0).log.files().items()},
        **{f"said/{name}": data for name, data in dispute(0).statements.items()},
        **spot_check_files(),
        "full.vdbb": session.full(),
        "altered.vdbb": altered(session),
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def spot_check_files() -> dict[str, bytes]:
    """A result, the log some time later, and what one institution hands to an auditor: the truth, and three other things."""
    story = Story(kept_list())
    log = story.log
    made = MadeLog(log.consortium, log.signer, [*log.entries[:2], entry_of("made for one question"), *log.entries[2:]])
    opening, clips = story.opened(story.question(30))
    first, *others = opening.opened
    edited = parse_line(first.line.encode()).model_copy(update={"shares": sha256_digest(b"a nicer figure")}).encode()
    lines = (first.model_copy(update={"line": edited.decode()}), *others)
    return {
        "measured.vdbb": story.session.bundle(),
        **{f"grown/{name}": data for name, data in log.files().items()},
        "samples.vdbs": story.file(story.question(30)),
        "clips.vdbs": story.file(story.question(30, clips=True)),
        "edited.vdbs": story.signed(opening.model_copy(update={"opened": lines}), clips),
        "forked.vdbs": story.file(story.question(30, choice=story.choice(made).encode())),
    }


def altered(session: SmallSession) -> bytes:
    """The profile full of a result whose total the coordinator altered; it signed the result again."""
    lanes = np.frombuffer(session.members[AGGREGATE], dtype="<u8").copy()
    lanes[-1] += 1
    members = read_archive(session.forged({AGGREGATE: lanes.tobytes()}))
    messages = {name: data for name, data in read_archive(session.full()).items() if is_message(name)}
    return write_archive(members | messages)


def auditor() -> StatementKey:
    """The key of the guide's auditor."""
    return StatementKey.from_seed(b"the auditor of the guide".ljust(32))


def log_files(session: SmallSession) -> Mapping[str, bytes]:
    """The log after a session's result, and a second opening of the same spec that never ended."""
    log = logged(session)
    first = next(record for record in map(parse_record, log.entries) if isinstance(record, OpenedRecord))
    second = first.model_copy(update={"session": sha256_digest(b"a second session")})
    return MadeLog(log.consortium, log.signer, [*log.entries, encode_record(second)]).files()


def variables() -> dict[str, str]:
    """What the guide calls by name: the trust root, and the key of the log."""
    session = spring()
    return {"ROOT": session.root, "KEY": str(NoteKey(ORIGIN, ED25519, coordinator_key(session.seed).public_key.raw))}


def rewritten(text: str) -> str:
    """Return the guide with every output, and every named value, as the program gives it now."""
    known = variables()
    for name, value in known.items():
        text = re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", text)
    before, width = Path.cwd(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder))
        os.chdir(folder)
        try:
            return _BLOCK.sub(lambda block: f"```console\n$ {block[1]}\n{_output(block[1], known)}```", text)
        finally:
            os.chdir(before)
            os.environ.pop("COLUMNS")
            os.environ.update({} if width is None else {"COLUMNS": width})


def _output(line: str, known: dict[str, str]) -> str:
    """Return what a line of the guide prints: a command of vdb-audit, and filters head, tail and grep."""
    command, *filters = line.split(" | ")
    words = [known[word[1:]] if word.startswith("$") else word for word in shlex.split(command)]
    if words[0] != "vdb-audit":
        raise ValueError(f"the guide runs vdb-audit alone, not {words[0]}")
    done = vdb_audit(*words[1:])
    lines = _NOW.sub("2026-02-01T09:00:00Z, by the auditor's clock", done.stdout + done.stderr).splitlines()
    for item in filters:
        lines = _filtered(lines, shlex.split(item))
    return "".join(f"{found.rstrip()}\n" for found in lines)


def _filtered(lines: list[str], words: list[str]) -> list[str]:
    match words:
        case ["head", "-n", number]:
            return lines[: int(number)]
        case ["tail", "-n", number]:
            return lines[-int(number) :]
        case ["grep", pattern]:
            return [line for line in lines if re.search(pattern, line)]
        case _:
            raise ValueError(f"the guide filters with head, tail and grep alone, not {words}")


def main() -> int:
    """Make the files, or the guide's outputs."""
    parser = argparse.ArgumentParser(description="The files and the outputs of docs/audit-guide.md.")
    parser.add_argument("--files", type=Path, help="write the files here")
    parser.add_argument("--write", action="store_true", help="make the guide's outputs anew")
    chosen = parser.parse_args()
    if chosen.files:
        make_files(chosen.files)
    if chosen.write:
        GUIDE.write_text(rewritten(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
