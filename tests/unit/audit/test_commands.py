"""Every command of `vdb-audit` with every one of its options, on golden bundles: what it prints, writes and exits with.

What is printed is what the functions print that `test_shown.py` compares word for word; here it is the same for the command.
Commands that sign stand in `test_signing_commands.py`, those about samples in `test_sample_commands.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from testkit.audit_cli import vdb_audit
from testkit.audit_commands import DISPUTED, OTHER, ROOT, audited, printed_json, shown
from testkit.golden import golden_file, golden_withdrawal
from testkit.logs import MadeLog
from testkit.published import golden_published, golden_told
from testkit.spot_shown import story
from testkit.statements import auditor_key, coordinator_key
from vdb_shared.audit.boards import boards_of
from vdb_shared.audit.compare import compare
from vdb_shared.audit.html import leaderboard_page, report_page
from vdb_shared.audit.inspect import describe, describe_statement
from vdb_shared.audit.leaderboard import leaderboard_of
from vdb_shared.audit.several import print_boards, print_comparison
from vdb_shared.audit.several_pages import boards_page, comparison_page
from vdb_shared.audit.standing_words import words_of
from vdb_shared.audit.tables import boards_csv, boards_latex
from vdb_shared.audit.text import print_leaderboard, print_report
from vdb_shared.audit.vbench import print_vbench, vbench_reports
from vdb_shared.audit.verified import VerifiedBundle
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive, write_archive
from vdb_shared.bundle.logged import log_origin
from vdb_shared.bundle.record import METRICS
from vdb_shared.canonical import canonical_json
from vdb_shared.transparency.note import ED25519, NoteKey

pytestmark = pytest.mark.usefixtures("narrow")
LOG_KEY = NoteKey(log_origin("testbed"), ED25519, coordinator_key("golden").public_key.raw)


# verify.


def test_verify_prints_a_report_as_text_json_and_page(tmp_path: Path) -> None:
    report = golden_told("full")
    page = tmp_path / "report.html"
    shown(vdb_audit("verify", golden_file("full"), "--root", ROOT, "--html", page), lambda to: print_report(to, report))
    assert page.read_text(encoding="utf-8") == report_page(report)
    done = vdb_audit("verify", golden_file("full"), "--root", ROOT, "--json")
    assert done.stdout == printed_json(report.to_json())


def test_verify_takes_log_checkpoint_statements_and_policy(tmp_path: Path) -> None:
    log, said = DISPUTED / "log", DISPUTED / "statements"
    given = ("verify", golden_file("disputed"), "--root", ROOT, "--log", log, "--statements", said)
    assert vdb_audit(*given, "--json").stdout == printed_json(golden_told("disputed").to_json())
    kept = json.loads(vdb_audit(*given, "--checkpoint", log / "checkpoint", "--json").stdout)
    lines = {line["id"]: line for line in kept["checks"]}
    assert "and the checkpoint you kept showed" in lines["V62"]["sentence"]
    policy = tmp_path / "policy.toml"
    policy.write_text("maximum_epsilon = 1\n")
    strict = vdb_audit("verify", golden_file("full"), "--policy", policy, "--json")
    assert (strict.returncode, json.loads(strict.stdout)["first_failure"]) == (1, "V22")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "checkpoint").write_bytes((log / "checkpoint").read_bytes())
    assert vdb_audit("verify", golden_file("disputed"), "--log", tmp_path / "log").returncode == 3


# inspect.


def test_inspect_shows_what_a_bundle_says() -> None:
    data = golden_file("dropout").read_bytes()
    found = describe(data)
    assert vdb_audit("inspect", golden_file("dropout"), "--json").stdout == printed_json(found.to_json())
    lines = vdb_audit("inspect", golden_file("dropout")).stdout.splitlines()
    assert lines[0] == str(golden_file("dropout"))
    assert lines[1] == "Benchmark    Tiny models on made-up clips"
    assert lines[10] == ""
    assert lines[11 : 11 + len(found.members)] == [f"{size:>12,}  {name}" for name, size in found.members.items()]
    assert lines[11 + len(found.members) :] == ["", "Nothing was verified; use: vdb-audit verify"]


def test_inspect_shows_what_a_statement_says() -> None:
    file = golden_withdrawal()
    said = describe_statement(file.read_bytes())
    assert vdb_audit("inspect", file, "--json").stdout == printed_json(said)
    lines = [f"{name:<14}{value}" for name, value in said.items()]
    words = "Nothing was verified; use: vdb-audit verify BUNDLE --statements FOLDER"
    assert vdb_audit("inspect", file).stdout.splitlines() == [str(file), *lines, "", words]


# leaderboard and compare.


def opened(name: str) -> VerifiedBundle:
    """Return a golden bundle as a command opens it that is given its root and neither log nor statements."""
    report = audited(name, root=ROOT)
    return VerifiedBundle(
        **{
            **{
                field: getattr(golden_published(name), field)
                for field in ("facts", "spec", "metrics", "accounting", "keys")
            },
            "name": str(golden_file(name)),
            "report": report,
        }
    )


def test_leaderboard_of_one_result(tmp_path: Path) -> None:
    data, page = golden_file("full").read_bytes(), tmp_path / "board.html"
    board = leaderboard_of(data, golden_told("full"))
    given = ("leaderboard", golden_file("full"), "--root", ROOT)
    done = vdb_audit(*given, "--html", page, "--csv", tmp_path / "t.csv", "--latex", tmp_path / "t.tex")
    shown(done, lambda to: print_leaderboard(to, board))
    assert page.read_text(encoding="utf-8") == leaderboard_page(board)
    boards = boards_of([opened("full")])
    assert (tmp_path / "t.csv").read_bytes().decode() == boards_csv(boards)
    assert (tmp_path / "t.tex").read_text(encoding="utf-8") == boards_latex(boards)
    assert vdb_audit(*given, "--json").stdout == read_archive(data)[METRICS].decode() + "\n"


def test_leaderboard_of_several_results(tmp_path: Path) -> None:
    page, files = tmp_path / "boards.html", (golden_file("full"), golden_file("dropout"))
    boards = boards_of([opened("full"), opened("dropout")])
    done = vdb_audit("leaderboard", *files, "--root", ROOT, "--html", page)
    shown(done, lambda to: print_boards(to, boards))
    assert page.read_text(encoding="utf-8") == boards_page(boards)
    done = vdb_audit("leaderboard", *files, "--root", ROOT, "--root", ROOT, "--json")
    assert done.stdout == printed_json(boards.to_json())


def test_leaderboard_takes_roots_logs_and_a_policy_for_each(tmp_path: Path) -> None:
    files = (golden_file("disputed"), golden_file("successor"))
    marked = json.loads(vdb_audit("leaderboard", *files, "--root", ROOT, "--log", DISPUTED / "log", "--json").stdout)
    assert any("WITHDRAWN" in remark for remark in marked["remarks"])
    silent = json.loads(vdb_audit("leaderboard", *files, "--root", ROOT, "--json").stdout)
    assert silent["remarks"] == []
    wrong = vdb_audit("leaderboard", *files, "--root", ROOT, "--root", OTHER)
    assert (wrong.returncode, wrong.stderr.startswith(f"error: V10: {files[1]}: ")) == (1, True)
    assert "--log: give it once for all 2 bundles" in vdb_audit("leaderboard", *files, *["--log", "x"] * 3).stderr
    policy = tmp_path / "policy.toml"
    policy.write_text("maximum_epsilon = 1\n")
    for command in (("leaderboard", files[0]), ("leaderboard", *files), ("compare", *files), ("vbench", files[0])):
        strict = vdb_audit(*command, "--policy", policy)
        assert (strict.returncode, strict.stderr[:11]) == (1, "error: V22:"), command


def test_compare_shows_two_results_side_by_side(tmp_path: Path) -> None:
    page, files = tmp_path / "c.html", (golden_file("full"), golden_file("dropout"))
    found = compare(opened("full"), opened("dropout"))
    done = vdb_audit("compare", *files, "--root", ROOT, "--html", page)
    shown(done, lambda to: print_comparison(to, found))
    assert page.read_text(encoding="utf-8") == comparison_page(found)
    assert vdb_audit("compare", *files, "--root", ROOT, "--json").stdout == printed_json(found.to_json())
    assert vdb_audit("compare", *files, "--root", OTHER).returncode == 1


# vbench and monitor.


def test_vbench_takes_a_bundle_or_figures(tmp_path: Path) -> None:
    metrics = read_archive(golden_file("full").read_bytes())[METRICS]
    figures = tmp_path / "figures.json"
    figures.write_bytes(b"\n  " + metrics)
    found = vbench_reports(metrics, file="x")
    for given in ((golden_file("full"), "--root", ROOT), (figures,)):
        shown(vdb_audit("vbench", *given), lambda to: print_vbench(to, found))
        assert vdb_audit("vbench", *given, "--json").stdout == printed_json([report.to_json() for report in found])
    assert vdb_audit("vbench", golden_file("full"), "--root", ROOT).returncode == 0
    assert vdb_audit("vbench", golden_file("full"), "--root", OTHER).stderr.startswith("error: V10: ")
    logged = vdb_audit("vbench", figures, "--log", DISPUTED / "log")
    words = f"error: {figures}: figures in a file of their own stand in no log; give --log with a bundle\n"
    assert (logged.returncode, logged.stderr) == (2, words)
    figures.write_bytes(canonical_json({"results": []}))
    none = vdb_audit("vbench", figures)
    assert (none.returncode, none.stderr) == (
        2,
        f"error: {figures}: no figure of it stands for a dimension of VBench\n",
    )
    figures.write_bytes(b"{}")
    assert vdb_audit("vbench", figures).stderr.startswith(f"error: {figures}: results: is missing; expected figures")


def test_vbench_says_what_was_said_of_a_result_since_and_marks_its_figures() -> None:
    bundle = golden_file("disputed").read_bytes()
    standing = verify(bundle, fetch=lambda path: (DISPUTED / "log" / path).read_bytes()).standing
    assert standing is not None
    found = vbench_reports(read_archive(bundle)[METRICS], file="x", mark="withdrawn")

    def show(to: Console) -> None:
        for sentence in words_of(standing):
            to.print(sentence, soft_wrap=True)
        print_vbench(to, found)

    given = ("vbench", golden_file("disputed"), "--root", ROOT, "--log", DISPUTED / "log")
    shown(vdb_audit(*given), show)
    done = vdb_audit(*given, "--json")
    assert done.stdout == printed_json([report.to_json() for report in found])
    assert {report["mark"] for report in json.loads(done.stdout)} == {"withdrawn"}


def test_monitor_reads_a_log_and_remembers_it(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    given = ("monitor", DISPUTED / "log", "--key", str(LOG_KEY))
    done = vdb_audit(*given, "--remember", seen)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("testbed/vdb-log: 7 entries\n")
    assert seen.read_bytes() == (DISPUTED / "log" / "checkpoint").read_bytes()
    assert vdb_audit(*given, "--remember", seen).returncode == 0
    found = json.loads(vdb_audit(*given, "--json").stdout)
    assert (found["version"], found["size"], found["wrong"]) == ("vdb-log-monitor/1", 7, [])
    for other in (b"no checkpoint", MadeLog("testbed", auditor_key("golden"), [b"x"]).files()["checkpoint"]):
        seen.write_bytes(other)
        wrong = vdb_audit(*given, "--remember", seen)
        words = f"error: {seen}: is no checkpoint of this log that --remember kept: "
        assert (wrong.returncode, wrong.stderr.startswith(words), seen.read_bytes()) == (2, True, other)
    nowhere = tmp_path / "no" / "seen"
    wrong = vdb_audit(*given, "--remember", nowhere)
    assert wrong.stderr == f"error: {nowhere}: its folder does not exist; make it first\n"
    wrong = vdb_audit("monitor", DISPUTED / "log", "--key", "x")
    assert (wrong.returncode, wrong.stderr.startswith("error: --key: ")) == (2, True)
    assert wrong.stderr.endswith("; copy all of the line that `vdb-coordinator log` prints to the lead\n")


def test_monitor_exits_1_where_something_is_wrong_and_tells_a_fork(tmp_path: Path) -> None:
    key = coordinator_key("golden")

    def written(name: str, *entries: bytes) -> Path:
        log = story().log.__class__("testbed", key, list(entries))
        for path, data in log.files().items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
        return tmp_path / name

    bad = vdb_audit("monitor", written("bad", b"no record"), "--key", str(LOG_KEY))
    assert bad.returncode == 1
    assert "WRONG      entry 0: " in bad.stdout
    seen = tmp_path / "seen"
    seen.write_bytes((DISPUTED / "log" / "checkpoint").read_bytes())
    fork = vdb_audit("monitor", written("fork", b"no record"), "--key", str(LOG_KEY), "--remember", seen)
    assert (fork.returncode, "the log had 7 entries when it was read last" in fork.stderr) == (1, True)
    assert seen.read_bytes() == (DISPUTED / "log" / "checkpoint").read_bytes(), "what proves the fork is kept"


def test_every_command_is_known_and_says_what_it_is_for() -> None:
    commands_known = (
        *("verify", "inspect", "leaderboard", "compare", "object", "key", "attestation"),
        *("choose-sample", "check-sample", "vbench", "monitor"),
    )
    shown_help = vdb_audit("--help").stdout
    for command in commands_known:
        assert f"\n  {command} " in shown_help
        assert f"Example: vdb-audit {command} " in " ".join(vdb_audit(command, "--help").stdout.split())
    nothing = vdb_audit()
    assert (nothing.returncode, "Usage: " in nothing.stdout + nothing.stderr) == (2, True)


def test_a_file_that_is_no_bundle_fails_in_few_lines(tmp_path: Path) -> None:
    """Every other check would only say that it builds on the first one; the verdict is the same, and so is the JSON."""
    page = tmp_path / "README.md"
    page.write_text("# Not a bundle\n", encoding="utf-8")
    done = vdb_audit("verify", page)
    first, second, empty, verdict = done.stdout.splitlines()
    assert first.startswith("V01              FAIL        Container. The file is not a result bundle")
    assert second == "Nothing else of it can be read, so none of the other 36 checks proves anything."
    assert empty == ""
    assert verdict.startswith("FAIL: do not rely on this bundle. The first check that failed is V01")
    assert done.returncode == 1
    assert len(json.loads(vdb_audit("verify", page, "--json").stdout)["checks"]) == 37


def test_a_root_that_is_neither_fingerprint_nor_file_is_refused() -> None:
    done = vdb_audit("verify", golden_file("full"), "--root", "4d68")
    assert done.returncode == 2
    assert done.stderr == (
        "error: --root: 4d68 is neither a fingerprint (sha256: and 64 digits, as the lead read it out) nor a file here\n"
    )


def test_the_digits_of_a_root_will_do() -> None:
    bundle, root = golden_file("full"), ROOT
    assert vdb_audit("verify", bundle, "--root", root.removeprefix("sha256:")).returncode == 0
    other = root[:-1] + ("0" if root[-1] != "0" else "1")
    assert vdb_audit("verify", bundle, "--root", other.removeprefix("sha256:")).returncode == 1


def test_a_broken_bundle_is_refused_everywhere_in_one_line(tmp_path: Path) -> None:
    members = {**read_archive(golden_file("full").read_bytes()), METRICS: b"{}"}
    broken = tmp_path / "broken.vdbb"
    broken.write_bytes(write_archive(members))
    for command in (("leaderboard", broken), ("compare", broken, golden_file("full")), ("vbench", broken)):
        done = vdb_audit(*command)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
        assert done.stderr.startswith("error: V04: ")


@pytest.mark.parametrize("option", ["--html", "--csv", "--latex"])
def test_a_bundle_is_never_written_over(option: str, tmp_path: Path) -> None:
    bundle = tmp_path / "result.vdbb"
    data = golden_file("dropout").read_bytes()
    bundle.write_bytes(data)
    commands_of = {"--html": ("verify", "leaderboard"), "--csv": ("leaderboard",), "--latex": ("leaderboard",)}
    for command in commands_of[option]:
        done = vdb_audit(command, bundle, option, bundle)
        assert (done.returncode, bundle.read_bytes() == data) == (2, True)
        assert "is what this command reads" in done.stderr
    both = vdb_audit("compare", bundle, golden_file("successor"), "--html", bundle)
    assert (both.returncode, bundle.read_bytes() == data) == (2, True)


def test_every_command_that_verifies_says_that_the_root_was_not_checked(tmp_path: Path) -> None:
    bundle, file = golden_file("dropout"), tmp_path / "samples.vdbs"
    file.write_bytes(b"no answer")
    for words in (("vbench", bundle), ("check-sample", bundle, file)):
        assert "TRUST ROOT IS NOT CHECKED" in vdb_audit(*words).stdout, words
    pinned = vdb_audit("check-sample", bundle, file, "--root", "sha256:" + "0" * 64)
    assert "TRUST ROOT IS NOT CHECKED" not in pinned.stdout
