"""Every command of `vdb-audit` with every one of its options, on golden bundles: what it prints, writes and exits with.

What is printed is what the functions print that `test_shown.py` compares word for word; here it is the same for the command.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.console import Console

from testkit.audit_cli import Done, vdb_audit
from testkit.evidence import golden_evidence
from testkit.golden import FOLDER, golden_file, golden_withdrawal
from testkit.logs import MadeLog
from testkit.published import golden_published, golden_told
from testkit.remembering import remember
from testkit.shown import plain
from testkit.spot_shown import answered, story
from testkit.statements import AUDITOR, auditor_key, coordinator_key
from vdb_shared.audit import commands, spot_commands
from vdb_shared.audit.attestation import Attestation, attest, property_of, read_attestation
from vdb_shared.audit.auditor_key import public_pem, read_public_key
from vdb_shared.audit.boards import boards_of
from vdb_shared.audit.checks import CHECKS
from vdb_shared.audit.compare import compare
from vdb_shared.audit.html import leaderboard_page, report_page
from vdb_shared.audit.inspect import describe, describe_statement
from vdb_shared.audit.leaderboard import leaderboard_of
from vdb_shared.audit.policy import Policy
from vdb_shared.audit.report import Report
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

NARROW = 40
"""Columns into which no sentence fits: those that are meant to stay on one line do."""

DISPUTED = FOLDER / "disputed"
ROOT = golden_told("full").facts.root  # type: ignore[union-attr]  # a golden bundle has facts
OTHER = "sha256:" + "4" * 64
LOG_KEY = NoteKey(log_origin("testbed"), ED25519, coordinator_key("golden").public_key.raw)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(NARROW))
    monkeypatch.delenv("VDB_PASSPHRASE", raising=False)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return the file of the golden auditor's key, encrypted; `phrase` beside it unlocks it."""
    (tmp_path / "auditor.pem").write_bytes(auditor_key("golden").to_pem(b"secret"))
    (tmp_path / "auditor.pub.pem").write_bytes(public_pem(auditor_key("golden").public_key))
    (tmp_path / "phrase").write_text("secret\n")
    return tmp_path / "auditor.pem"


def shown(done: Done, show: Callable[[Console], object]) -> None:
    """Check that a command printed just this and succeeded."""
    assert done.stdout == plain(show, width=NARROW)
    assert (done.returncode, done.stderr) == (0, "")


def printed_json(value: object) -> str:
    return canonical_json(value).decode() + "\n"


def audited(name: str, **given: object) -> Report:
    return verify(golden_file(name).read_bytes(), **given)  # type: ignore[arg-type]  # as `verify` takes them


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


def test_verify_attests_what_passes_and_says_so_of_what_does_not(key: Path, tmp_path: Path) -> None:
    out, phrase = tmp_path / "out.json", tmp_path / "phrase"
    given = ("--attest", out, "--key", key, "--passphrase-file", phrase)
    done = vdb_audit("verify", golden_file("full"), "--root", ROOT, *given)
    assert (done.returncode, done.stderr) == (0, "")
    found = read_attestation(out.read_bytes(), auditor_key("golden").public_key)
    assert (found.bundle, found.policy.root) == (golden_told("full").bundle, ROOT)
    out.unlink()
    done = vdb_audit("verify", golden_file("full"), "--root", OTHER, *given)
    assert (done.returncode, out.exists()) == (1, False)
    assert done.stderr == f"{out}: not written; only an audit that passes is attested\n"
    before = {path: path.read_bytes() for path in (key, phrase)}
    for path in before:
        done = vdb_audit("verify", golden_file("full"), *("--attest", path), *given[2:])
        words = f"error: {path}: is what this command reads, and would be written over; name another file\n"
        assert (done.returncode, done.stderr) == (2, words)
    assert {path: path.read_bytes() for path in before} == before
    for half in (("--attest", out), ("--key", key)):
        done = vdb_audit("verify", golden_file("full"), *half)
        assert done.returncode == 2
        assert "--attest and --key go together; `vdb-audit key FILE` makes a key" in done.stderr


def test_an_attestation_may_take_the_place_of_an_older_one(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDB_PASSPHRASE", "secret")
    out = key.with_name("out.json")
    out.write_text("older")
    assert vdb_audit("verify", golden_file("full"), "--attest", out, "--key", key).returncode == 0
    assert read_attestation(out.read_bytes(), auditor_key("golden").public_key).bundle == golden_told("full").bundle


# inspect.


def test_inspect_shows_what_a_bundle_says() -> None:
    data = golden_file("dropout").read_bytes()
    found = describe(data)
    assert vdb_audit("inspect", golden_file("dropout"), "--json").stdout == printed_json(found.to_json())
    lines = vdb_audit("inspect", golden_file("dropout")).stdout.splitlines()
    assert lines[0] == "Benchmark    Tiny models on made-up clips"
    assert lines[9] == ""
    assert lines[10 : 10 + len(found.members)] == [f"{size:>12,}  {name}" for name, size in found.members.items()]
    assert lines[10 + len(found.members) :] == ["", "Nothing was verified; use: vdb-audit verify"]


def test_inspect_shows_what_a_statement_says() -> None:
    file = golden_withdrawal()
    said = describe_statement(file.read_bytes())
    assert vdb_audit("inspect", file, "--json").stdout == printed_json(said)
    lines = [f"{name:<14}{value}" for name, value in said.items()]
    words = "Nothing was verified; use: vdb-audit verify BUNDLE --statements FOLDER"
    assert vdb_audit("inspect", file).stdout.splitlines() == [*lines, "", words]


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


# object, key, attestation.


def test_object_signs_an_objection_and_says_where_to_hand_it_in(key: Path, tmp_path: Path) -> None:
    out, bundle = tmp_path / "mine.dsse.json", golden_file("disputed")
    words = ("--reason", "figures", "--text", "The ranks rest on those clips.")
    given = ("object", bundle, *words, "--key", key, "--out", out, "--passphrase-file", tmp_path / "phrase")
    done = vdb_audit(*given, "--root", ROOT)
    session = describe(bundle.read_bytes()).facts.session
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{out}: signed objection to the result of session {session}\n"
        f"hand it in with: vdb-coordinator session object {session[7:19]} {out}\n"
    )
    said = describe_statement(out.read_bytes())
    assert (said["objector"], said["reason"], said["text"]) == (AUDITOR, "figures", "The ranks rest on those clips.")
    again = vdb_audit(*given)
    assert (again.returncode, again.stderr) == (2, f"error: {out}: is there already; choose another name\n")
    out.unlink()
    assert vdb_audit(*given, "--root", OTHER).returncode == 1
    assert not out.exists()


def test_key_makes_a_key_and_shows_its_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text("secret\n")
    for options, encrypted in ((("--passphrase-file", tmp_path / "phrase"), True), (("--plaintext-key",), False)):
        path = tmp_path / f"{encrypted}.pem"
        done = vdb_audit("key", path, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert (b"ENCRYPTED" in path.read_bytes()) is encrypted
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        public = read_public_key(tmp_path / f"{encrypted}.pub.pem")
        groups = [public.key_id[place : place + 4] for place in range(0, 64, 4)]
        assert done.stdout == (
            f"{path}: your key; keep it, and show it to nobody\n"
            f"{tmp_path}/{encrypted}.pub.pem: its public half, for those who check what you attest\n"
            f"fingerprint: {' '.join(groups)}\n"
        )
    done = vdb_audit("key", tmp_path / "third.pem")
    assert (done.returncode, "give --passphrase-file or set VDB_PASSPHRASE" in done.stderr) == (2, True)


class Terminal:
    """An input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_passphrase_is_asked_for_and_a_new_one_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object, object]] = []

    def prompt(question: str, *, hide_input: bool, confirmation_prompt: bool) -> str:
        asked.append((question, hide_input, confirmation_prompt))
        return "secret"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(typer, "prompt", prompt)
    path, out = tmp_path / "a.pem", tmp_path / "out.json"
    assert vdb_audit("key", path).returncode == 0
    assert vdb_audit("verify", golden_file("full"), "--attest", out, "--key", path).returncode == 0
    words = ("--reason", "data", "--text", "x", "--key", path, "--out", tmp_path / "o.json")
    assert vdb_audit("object", golden_file("full"), *words).returncode == 1
    assert asked == [
        ("New passphrase for the key", True, True),
        ("Passphrase of the key", True, False),
        ("Passphrase of the key", True, False),
    ]


def test_attestation_shows_how_the_result_stood_when_it_was_audited(key: Path, tmp_path: Path) -> None:
    out, public, log = tmp_path / "out.json", tmp_path / "auditor.pub.pem", DISPUTED / "log"
    given = ("--attest", out, "--key", key, "--passphrase-file", tmp_path / "phrase")
    for name, known, words in (
        ("disputed", ("--log", log), "WITHDRAWN when it was audited"),
        ("successor", ("--log", log), "nothing was said against the result when it was audited"),
        ("successor", (), "not known: ask the log with `vdb-audit verify --log`"),
    ):
        assert vdb_audit("verify", golden_file(name), *known, *given).returncode == 0
        told = vdb_audit("attestation", out, "--key", public).stdout.splitlines()
        assert f"Standing    {words}" in told
        assert "Unknown     none" in told
        out.unlink()


def test_attestation_shows_what_an_auditor_signed(key: Path, tmp_path: Path) -> None:
    out, public = tmp_path / "out.json", tmp_path / "auditor.pub.pem"
    given = ("--attest", out, "--key", key, "--passphrase-file", tmp_path / "phrase")
    assert vdb_audit("verify", golden_file("full"), *given).returncode == 0
    found = read_attestation(out.read_bytes(), auditor_key("golden").public_key)
    assert vdb_audit("attestation", out, "--key", public, "--json").stdout == printed_json(found.to_json())
    told = golden_told("full").lines
    passed = " ".join(line.id for line in audited("full").lines if line.status == "PASS")
    others = " ".join(line.id for line in audited("full").lines if line.status != "PASS")
    assert len(told) == len(f"{passed} {others}".split())
    lines = [
        f"Bundle      {found.bundle}",
        "            give --bundle to compare a file with it",
        f"Auditor     {found.auditor}",
        f"Audited     {found.created}, by the auditor's clock, with version {found.software}",
        "Trust root  not pinned: taken from the bundle itself",
        "Demands     ε at most 10, δ at most 0.0001",
        "            at least 4 institutions, 1 of them possibly dishonest",
        "Standing    not known: ask the log with `vdb-audit verify --log`",
        f"Passed      {passed}",
        f"Not passed  {others}",
        "Unknown     none",
        "",
        "The signature is the auditor's: this is what the auditor's key says, no audit. Repeat it: vdb-audit verify",
    ]
    policy = found.policy
    lines[5] = f"Demands     ε at most {policy.maximum_epsilon}, δ at most {policy.maximum_delta}"
    lines[6] = (
        f"            at least {policy.minimum_cohort} institutions, {policy.minimum_collusion} of them possibly dishonest"
    )
    assert vdb_audit("attestation", out, "--key", public).stdout.splitlines() == lines
    lines[1] = f"            which is {golden_file('full')}"
    done = vdb_audit("attestation", out, "--key", public, "--bundle", golden_file("full"))
    assert (done.returncode, done.stdout.splitlines()) == (0, lines)
    wrong = vdb_audit("attestation", out, "--key", public, "--bundle", golden_file("dropout"))
    assert wrong.returncode == 1
    assert wrong.stderr == (
        f"error: attestation: {out} is about {found.bundle}, but {golden_file('dropout')} is "
        f"{golden_told('dropout').bundle}; ask the auditor about this one\n"
    )


def test_checks_that_only_another_version_knows_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    key = auditor_key("golden")
    found = read_attestation(
        attest(golden_told("full"), Policy(), ROOT, "2026-02-01T09:00:00Z", key).to_json(),
        key.public_key,
    )
    later = Attestation(
        **{name: getattr(found, name) for name in ("bundle", "auditor", "software", "created", "policy")},
        properties=("VDB_V10_PASS", "VDB_V98_PASS", "VDB_V99_PASS", "VDB_VERDICT_PASS"),
    )
    commands._print_attestation(later, matched=None)  # nothing else prints one of a later version
    out = capsys.readouterr().out.splitlines()
    assert f"Trust root  {ROOT}" in out
    assert "Passed      V10" in out
    assert "Unknown     VDB_V98_PASS VDB_V99_PASS" in out
    everything = tuple(sorted({property_of(check.id) for check in CHECKS}))
    whole = Attestation(
        **{name: getattr(found, name) for name in ("bundle", "auditor", "software", "created", "policy")},
        properties=everything,
    )
    commands._print_attestation(whole, matched=None)
    assert "Not passed  none of the checks that this version knows" in capsys.readouterr().out.splitlines()


# choose-sample and check-sample.


@pytest.fixture
def sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a result, the log some time later, and an honest answer of one institution."""
    remember(monkeypatch.setattr)
    files = {f"log/{path}": data for path, data in story().log.files().items()}
    for name, data in {**files, "result.vdbb": story().session.bundle(), "samples.vdbs": answered()}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_choose_sample_writes_what_the_log_chooses(sampled: Path) -> None:
    root, out = story().session.root, sampled / "choice.json"
    given = ("choose-sample", sampled / "result.vdbb", "--log", sampled / "log", "--out", out)
    done = vdb_audit(*given, "--root", root)
    session = describe((sampled / "result.vdbb").read_bytes()).facts.session
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{out}: written; an institution answers it with `vdb-participant prove-sample {session[7:19]} "
        "--checkpoint choice.json --auditor your-name --out samples.vdbs`\n"
    )
    assert out.read_bytes() == story().choice().encode()
    again = vdb_audit(*given, "--root", root)
    assert (again.returncode, again.stderr) == (
        2,
        f"error: {out}: exists already; name another file or remove it\n",
    )
    out.unlink()
    assert vdb_audit(*given, "--root", OTHER).returncode == 1
    policy = sampled / "policy.toml"
    policy.write_text(f'root = "{OTHER}"\n')
    assert vdb_audit(*given, "--policy", policy).returncode == 1
    (sampled / "result.vdbb").write_bytes(story().session.edited({METRICS: b"{}"}))
    assert vdb_audit(*given, "--root", root).stderr.startswith("error: V04: "), "nobody is asked about such a result"
    assert not out.exists()


def test_choose_sample_names_the_one_auditor_whom_the_roster_knows(tmp_path: Path) -> None:
    out = tmp_path / "choice.json"
    done = vdb_audit("choose-sample", golden_file("disputed"), "--log", DISPUTED / "log", "--out", out)
    assert done.returncode == 0
    assert f"--checkpoint choice.json --auditor {AUDITOR} --out samples.vdbs`" in done.stdout
    roster = golden_evidence("disputed").roster
    auditor = next(member for member in roster.members if member.role == "auditor")
    second = auditor.model_copy(update={"institution": "another-office"})
    several = roster.model_copy(update={"members": (*roster.members, second)})
    assert spot_commands._auditor(several) == "your-name"


def test_check_sample_says_whether_these_are_the_records(sampled: Path) -> None:
    root, bundle, file = story().session.root, sampled / "result.vdbb", sampled / "samples.vdbs"
    given = ("check-sample", bundle, file, "--root", root)
    done = vdb_audit(*given, "--count", "12", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"], found["opened"]) == (0, "PASS", 12)
    assert {line["id"]: line["status"] for line in found["checks"]}["S05"] == "NOT PROVEN"
    text = vdb_audit(*given, "--count", "12").stdout.splitlines()
    assert text[0] == "S01              PASS        Result. The result passes its audit: vdb-audit verify."
    assert text[-2] == ""
    assert text[-1].startswith("PASS: 12 records of 104 stood in the list")
    assert vdb_audit(*given).returncode == 1, "30 are asked for where nothing else is said"
    assert vdb_audit(*given, "--count", "13").returncode == 1
    for wrong in ("0", "1001"):
        assert vdb_audit(*given, "--count", wrong).returncode == 2
    (sampled / "choice.json").write_bytes(story().choice().encode())
    for known in (("--log", sampled / "log"), ("--checkpoint", sampled / "choice.json")):
        lines = json.loads(vdb_audit(*given, "--count", "12", *known, "--json").stdout)["checks"]
        assert {line["id"]: line["status"] for line in lines}["S05"] == "PASS"
    policy = sampled / "policy.toml"
    policy.write_text("maximum_epsilon = 1\n")
    assert vdb_audit(*given, "--count", "12", "--policy", policy).returncode == 1
    assert vdb_audit("check-sample", bundle, file, "--root", OTHER, "--count", "12").returncode == 1
    assert vdb_audit("check-sample", bundle, file, "--count", "1000").returncode == 1


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
    assert vdb_audit("vbench", figures).stderr.startswith(
        f"error: {figures}: results: Field required; expected figures"
    )


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
