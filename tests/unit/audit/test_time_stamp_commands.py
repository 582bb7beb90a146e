"""Asking for a time stamp, and giving one, by the command line: from the question to the verified stamp, and every error."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from testkit.audit_cli import vdb_audit
from testkit.bundles import SmallSession
from testkit.time_authority import PUBLISHED, Authority, checkpoint_of, refusal, serving
from vdb_shared.bundle.record import COUNTERSIGN, RESULT_PROOF
from vdb_shared.transparency.time_stamps import ask


def test_from_the_question_to_the_verified_stamp_by_the_command_line(
    plain: SmallSession, authority: Authority, tmp_path: Path
) -> None:
    bundle, roots, out = tmp_path / "result.vdbb", tmp_path / "roots.pem", tmp_path / "result.tsr"
    bundle.write_bytes(plain.bundle())
    roots.write_bytes(authority.roots)
    seen = []

    def answers(path: str, kind: str, question: bytes) -> tuple[int, bytes]:
        seen.append((path, kind))
        return 200, authority.answer(question, PUBLISHED + timedelta(minutes=5))

    with serving(answers) as url:
        asked = vdb_audit("time-stamp", bundle, "--tsa", f"{url}/tsr", "--out", out)
        again = vdb_audit("time-stamp", bundle, "--tsa", f"{url}/tsr", "--out", out)
    assert (asked.returncode, seen) == (0, [("/tsr", "application/timestamp-query")])
    assert f"--time-stamp {out}" in asked.stdout
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    found = vdb_audit("verify", bundle, "--root", plain.root, "--time-stamp", out, "--tsa-roots", roots)
    assert (found.returncode, "V64              PASS" in found.stdout) == (0, True)


def test_a_stamp_that_cannot_be_written_is_an_error_and_paths_are_not_broken_into_lines(
    plain: SmallSession, authority: Authority, tmp_path: Path
) -> None:
    bundle, out = tmp_path / "result.vdbb", tmp_path / ("x" * 150) / "result.tsr"
    bundle.write_bytes(plain.bundle())
    out.parent.mkdir()
    with serving(lambda _path, _kind, question: (200, authority.answer(question, PUBLISHED))) as url:
        long = vdb_audit("time-stamp", bundle, "--tsa", url, "--out", tmp_path / ("y" * 300))
        kept = vdb_audit("time-stamp", bundle, "--tsa", url, "--out", out)
    if Path("/proc/self").exists():  # where nobody can make a file
        with serving(lambda _path, _kind, question: (200, authority.answer(question, PUBLISHED))) as url:
            nowhere = vdb_audit("time-stamp", bundle, "--tsa", url, "--out", "/proc/result.tsr")
        assert (nowhere.returncode, "/proc/result.tsr: cannot be written: No such" in nowhere.stderr) == (2, True)
    assert (long.returncode, f"{'y' * 300}: File name too long" in long.stderr) == (1, True)
    assert kept.stdout.splitlines() == [
        f"{out}: time stamp on the log's checkpoint in {bundle}, not verified yet",
        f"verify it: vdb-audit verify {bundle} --time-stamp {out} --tsa-roots ROOTS.pem",
    ]


def test_errors_of_asking_and_giving_say_what_to_do(plain: SmallSession, authority: Authority, tmp_path: Path) -> None:
    bundle, out = tmp_path / "result.vdbb", tmp_path / "result.tsr"
    bundle.write_bytes(plain.bundle())
    old = authority.answer(ask(checkpoint_of(plain)).data, PUBLISHED)
    answers = {
        "/refuses": (200, refusal("only for members")),
        "/page": (200, b"<html>hello</html>"),
        "/gone": (404, b""),
        "/replays": (200, old),
        "/endless": (200, bytes(200_000)),
    }
    words = {
        "/refuses": "/refuses: the authority gave no time stamp: status 2, “only for members”",
        "/page": "/page: expected the answer of a time stamp authority",
        "/gone": "answers 404",
        "/replays": "answered another question",
        "/endless": "more than the",
    }
    with serving(lambda path, _kind, _question: answers[path]) as url:
        for path, expected in words.items():
            found = vdb_audit("time-stamp", bundle, "--tsa", url + path, "--out", out)
            assert (found.returncode != 0, expected in found.stderr, out.exists()) == (True, True, False), found.stderr
    for nobody in (url, url.replace("http", "https"), "http://[::1", "http://127.0.0.1:x"):
        away = vdb_audit("time-stamp", bundle, "--tsa", nobody, "--out", out)
        assert (away.returncode, f"{nobody}: cannot be reached (" in away.stderr) == (1, True), away.stderr
        assert "<urlopen" not in away.stderr
    secret = vdb_audit("time-stamp", bundle, "--tsa", "https://user:tok3n@tsa.internal", "--out", out)
    assert (secret.returncode, "without user and password" in secret.stderr, "tok3n" in secret.stderr) == (
        2,
        True,
        False,
    )
    missing = vdb_audit("time-stamp", bundle, "--tsa", url, "--out", tmp_path / "none" / "x")
    assert (missing.returncode, "its folder does not exist" in missing.stderr) == (2, True)
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    dangling = vdb_audit("time-stamp", bundle, "--tsa", url, "--out", tmp_path / "dangling")
    assert (dangling.returncode, "is there already" in dangling.stderr) == (2, True)
    assert "begins with http" in vdb_audit("time-stamp", bundle, "--tsa", "ftp://x", "--out", out).stderr
    out.write_bytes(old)
    alone = vdb_audit("verify", bundle, "--time-stamp", out)
    assert (alone.returncode, "go together" in alone.stderr) == (2, True)
    roots = vdb_audit("verify", bundle, "--tsa-roots", out)
    assert (roots.returncode, "go together" in roots.stderr) == (2, True)
    none = vdb_audit("verify", bundle, "--time-stamp", out, "--tsa-roots", out)
    assert (none.returncode, "BEGIN CERTIFICATE" in none.stderr) == (2, True)


def test_a_draft_cannot_be_stamped(plain: SmallSession, tmp_path: Path) -> None:
    draft = tmp_path / "draft.vdbb"
    draft.write_bytes(plain.edited({COUNTERSIGN: None, RESULT_PROOF: None}))
    found = vdb_audit("time-stamp", draft, "--tsa", "http://127.0.0.1:1", "--out", tmp_path / "x")
    assert (found.returncode, "is a draft" in found.stderr) == (2, True)
