"""The golden bundles: small sessions, made anew byte for byte from fixed keys, nonces and times.

    PYTHONPATH=tests python -m testkit.golden [--check]

Writes tests/golden/*.vdbb and what an audit reports of each, or says which of them differ from what it would write. One result
is objected to, withdrawn and replaced: with it go the log, the signed statements, and the result that replaces it. A change of
a format or of a report's words makes them differ; writing them anew is then part of that change.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache
from pathlib import Path
from typing import Final

from testkit.bundles import SmallSession, small_session
from testkit.disputed import Dispute, dispute
from testkit.fates import Fate
from testkit.small_specs import small_spec
from vdb_shared.audit.report import Report
from vdb_shared.audit.verify import verify
from vdb_shared.spec import Spec

FOLDER: Final = Path(__file__).parent.parent / "golden"

FATES: Final = {"full": Fate.STAYS, "dropout": Fate.DROPS_OUT, "restarted": Fate.ACCUSED}
"""Golden bundles by name, and what befalls one institution of five."""


@cache
def golden_spec() -> Spec:
    """Return the spec of all: public and private inputs, two models, clips made twice; no figure that takes long to compute."""
    models = ", ".join(
        f'{{ id = "tiny-{name}", pipeline = "WanPipeline", manifest = "sha256:{name * 64}" }}' for name in "ab"
    )
    return small_spec(
        prompts='[{ id = "circle", text = "a red circle" }, { id = "square", text = "a blue square" }]',
        models=f"[{models}]",
        extractors=f'[{{ id = "tiny-c", architecture = "VideoMAEModel", manifest = "sha256:{"c" * 64}", dimension = 4 }}]',
        generation="{ steps = 2, guidance = 2.0, samples = 5, private_share = 1, checked_share = 0.1 }",
        metrics="""[
  { id = "temporal-flickering@1", inputs = "public" },
  { id = "temporal-flickering@1", inputs = "private" },
  { id = "mmd-rff@1", inputs = "public", extractor = "tiny-c", features = 8, bandwidth = 1.0 },
]""",
    )


def golden_session(name: str) -> SmallSession:
    """Return the session of a golden bundle, with all its keys."""
    return small_session("golden", golden_spec(), fate=FATES[name])


@cache
def golden_dispute() -> Dispute:
    """Return the result that is objected to, withdrawn and replaced, with all of that."""
    return dispute("golden", golden_spec())


def disputed_report(session: SmallSession) -> bytes:
    """Return what an audit that reads log and statements reports of one of its two results."""
    found = golden_dispute()
    fetch = found.log.files().__getitem__
    statements = found.statements if session is found.first else None
    return _pretty(verify(session.bundle(), root=session.root, fetch=fetch, statements=statements))


def disputed_files() -> dict[Path, bytes]:
    """Return the files of the result that is objected to."""
    found = golden_dispute()
    sessions = {"disputed": found.first, "successor": found.second}
    return {
        **{golden_file(name): session.bundle() for name, session in sessions.items()},
        **{golden_file(name).with_suffix(".report.json"): disputed_report(item) for name, item in sessions.items()},
        **{FOLDER / "disputed" / "log" / path: data for path, data in found.log.files().items()},
        **{FOLDER / "disputed" / "statements" / path: data for path, data in found.statements.items()},
    }


def golden_file(name: str) -> Path:
    """Return where a golden bundle lies."""
    return FOLDER / f"{name}.vdbb"


def golden_withdrawal() -> Path:
    """Return where the signed withdrawal of the golden result that is objected to lies."""
    (file,) = (FOLDER / "disputed" / "statements").glob("withdrawal-*.dsse.json")
    return file


def golden_report(name: str) -> bytes:
    """Return what an audit under its root reports of a golden bundle, as JSON that people can compare."""
    session = golden_session(name)
    return _pretty(verify(session.bundle(), root=session.root))


def _pretty(report: Report) -> bytes:
    return (json.dumps(report.to_json(), ensure_ascii=False, indent=1) + "\n").encode()


def golden_files() -> dict[Path, bytes]:
    """Return all files with the bytes that they should have."""
    bundles = {golden_file(name): golden_session(name).bundle() for name in FATES}
    reports = {golden_file(name).with_suffix(".report.json"): golden_report(name) for name in FATES}
    return bundles | reports | disputed_files()


def main() -> int:
    """Write or compare all golden files; return 1 when one differs."""
    parser = argparse.ArgumentParser(description="Make the golden bundles anew.")
    parser.add_argument("--check", action="store_true", help="write nothing; say which files differ")
    checking = parser.parse_args().check
    differing = 0
    for file, data in golden_files().items():
        if not checking:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        elif not file.is_file() or file.read_bytes() != data:
            sys.stderr.write(f"{file.name} differs from what is written now\n")
            differing += 1
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
