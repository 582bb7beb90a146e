"""What an auditor reads and writes: files and flags, each refusal in one line.

Nothing is verified here: reports and statements are those beside the golden bundles.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testkit.one_line import refused
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.reading import (
    MAX_ROOT_BYTES,
    MAX_STATEMENTS,
    console,
    logs_of,
    policy_of,
    print_json,
    root_of,
    roots_of,
    statements_in,
    write_file,
)
from vdb_shared.bundle.objections import MAX_OBJECTION_BYTES
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import UsageError
from vdb_shared.named_files import read_file

DIGEST = "sha256:" + "4" * 64


# Files and flags.


def test_a_file_is_read_to_its_limit_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    assert refused(UsageError, lambda: read_file(path, 4)) == f"{path}: is larger than the 4 bytes that are accepted"
    none = tmp_path / "none"
    assert (
        refused(UsageError, lambda: read_file(none, 4))
        == f"{none}: cannot be read (No such file or directory); check the path"
    )


def test_a_text_is_written_in_utf8(tmp_path: Path) -> None:
    write_file(tmp_path / "file", "ε ≤ 8")
    assert (tmp_path / "file").read_bytes() == "ε ≤ 8".encode()
    nowhere = tmp_path / "no" / "file"
    words = f"{nowhere}: cannot be written: No such file or directory"
    assert refused(UsageError, lambda: write_file(nowhere, "x")) == words


def test_what_a_command_reads_it_does_not_write_over_and_other_files_it_does(tmp_path: Path) -> None:
    given, other, link = tmp_path / "given", tmp_path / "other", tmp_path / "link"
    given.write_text("given")
    other.write_text("other")
    link.symlink_to(given)
    write_file(other, "new", inputs=[given])
    assert other.read_text() == "new"
    for same in (given, link):
        words = f"{same}: is what this command reads, and would be written over; name another file"
        assert refused(UsageError, lambda at=same: write_file(at, "new", inputs=[other, given])) == words  # type: ignore[misc]  # a default binds each
    assert given.read_text() == "given"


def test_json_is_printed_canonically_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": "ε", "a": [1, None]})
    assert capsys.readouterr().out == '{"a":[1,null],"b":"ε"}\n'


def test_words_of_a_bundle_are_neither_markup_nor_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("[bold]a[/bold] :smile: 12")
    assert capsys.readouterr().out == "[bold]a[/bold] :smile: 12\n"


def test_nothing_is_coloured_by_what_it_looks_like(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    console().print("12 of 'b' at 2026-01-31, https://example.org")
    assert capsys.readouterr().out == "12 of 'b' at 2026-01-31, https://example.org\n"


def test_a_root_is_given_as_its_digest_or_as_its_file(tmp_path: Path) -> None:
    assert root_of(None) is None
    assert root_of(DIGEST) == DIGEST
    path = tmp_path / "root.json"
    root = b'{"signatures":[],"signed":{"_type":"root"}}'
    path.write_bytes(root)
    assert root_of(str(path)) == sha256_digest(root)
    assert refused(UsageError, lambda: root_of("sha256:12")).startswith("--root: ")
    path.write_bytes(root.ljust(MAX_ROOT_BYTES))
    assert root_of(str(path)) == sha256_digest(root.ljust(2**20))
    path.write_bytes(root.ljust(MAX_ROOT_BYTES + 1))
    assert "larger than the 1048576 bytes" in refused(UsageError, lambda: root_of(str(path)))


@pytest.mark.parametrize(("several_of", "flag"), [(roots_of, "--root"), (logs_of, "--log")])
def test_a_flag_is_given_once_for_all_or_once_for_each(several_of: Callable[..., Any], flag: str) -> None:
    one, two, three = (f"sha256:{digit * 64}" for digit in "123")
    assert several_of([], 3) == (None, None, None)
    assert several_of([one], 3) == (one, one, one)
    assert several_of([one, two, three], 3) == (one, two, three)
    assert several_of([one], 1) == (one,)
    words = f"{flag}: give it once for all 3 bundles, or once for each in their order"
    assert refused(UsageError, lambda: several_of([one, two], 3)) == words
    assert refused(UsageError, lambda: several_of([one] * 4, 3)) == words


def test_statements_are_those_files_of_a_folder_that_are_named_so(tmp_path: Path) -> None:
    assert statements_in(None) == {}
    none = tmp_path / "none"
    words = f"{none}: expected a folder with statements, *.dsse.json: No such file or directory"
    assert refused(UsageError, lambda: statements_in(none)) == words
    (tmp_path / "notes.txt").write_bytes(b"x")
    empty = f"{tmp_path}: expected 1 to 1000 statements, *.dsse.json, found 0"
    assert refused(UsageError, lambda: statements_in(tmp_path)) == empty
    (tmp_path / "c.dsse.json").touch()
    assert statements_in(tmp_path) == {"c.dsse.json": b""}
    (tmp_path / "c.dsse.json").unlink()
    for name in ("b", "a"):
        (tmp_path / f"{name}.dsse.json").write_bytes(name.encode())
    assert list(statements_in(tmp_path).items()) == [("a.dsse.json", b"a"), ("b.dsse.json", b"b")]
    (tmp_path / "a.dsse.json").write_bytes(bytes(MAX_OBJECTION_BYTES))
    assert len(statements_in(tmp_path)["a.dsse.json"]) == MAX_OBJECTION_BYTES
    (tmp_path / "a.dsse.json").write_bytes(bytes(MAX_OBJECTION_BYTES + 1))
    assert "larger than the 16384 bytes" in refused(UsageError, lambda: statements_in(tmp_path))


def test_a_thousand_statements_are_read_and_not_one_more(tmp_path: Path) -> None:
    for number in range(MAX_STATEMENTS):
        (tmp_path / f"{number}.dsse.json").touch()
    assert len(statements_in(tmp_path)) == 1000
    (tmp_path / "one more.dsse.json").touch()
    words = f"{tmp_path}: expected 1 to 1000 statements, *.dsse.json, found 1001"
    assert refused(UsageError, lambda: statements_in(tmp_path)) == words


def test_a_policy_is_the_usual_one_or_that_of_a_file(tmp_path: Path) -> None:
    assert policy_of(None) == DEFAULT_POLICY
    path = tmp_path / "policy.toml"
    path.write_text('version = "vdb-audit-policy/1"\nminimum_cohort = 9\n')
    assert policy_of(path) == Policy(minimum_cohort=9)
    path.write_text("minimum_cohort = 9\nnonsense = 1\n")
    assert refused(UsageError, lambda: policy_of(path)).startswith(f"{path}: ")
