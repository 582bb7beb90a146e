"""The verifier's parsers on damaged bytes: a value that is written back as it was, or a declared error."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from testkit.fuzzing import CORPUS, audit_problem, corpus_of, damaged_inputs, seeds
from testkit.parsers import PARSERS
from testkit.remembering import remember
from vdb_shared.audit.policy import MAX_POLICY_BYTES
from vdb_shared.seal import MAX_JSON_BYTES

DAMAGED = 120
"""Inputs of each parser."""

AUDITS = 60
MEMORY = 48 * 2**20

SLOW = ("bundle",)
"""Parsers that take as long as an audit."""


@pytest.mark.parametrize("name", PARSERS)
def test_good_inputs_are_read_and_written_back(name: str) -> None:
    for data in seeds()[name]:
        PARSERS[name].parse(data)
        assert PARSERS[name].problem(data) == ""


@pytest.mark.parametrize("name", PARSERS)
def test_damaged_inputs_give_declared_errors(name: str) -> None:
    for data in damaged_inputs(name, DAMAGED // 8 if name in SLOW else DAMAGED, seed=1):
        assert PARSERS[name].problem(data) == "", data.hex()


@pytest.mark.parametrize("name", PARSERS)
def test_inputs_that_once_reached_something_new_give_declared_errors(name: str) -> None:
    for data in corpus_of(name):
        assert PARSERS[name].problem(data) == "", data.hex()


def test_there_is_no_corpus_of_a_parser_that_is_gone() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= PARSERS.keys()


def test_any_value_that_everybody_signs_gives_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    remember(monkeypatch.setattr)
    dice = random.Random(1)  # noqa: S311  # damage, no secrets
    for _ in range(AUDITS):
        assert audit_problem(dice) == ""


NESTED = b"[" * 100_000
DIGITS = b"1" * 60_000


@pytest.mark.parametrize(
    "hostile", [NESTED, b'{"a":' * 100_000, DIGITS, b"-" + DIGITS, b'"' + b"\\ud800" * 9000 + b'"']
)
@pytest.mark.parametrize("name", [name for name in PARSERS if name not in SLOW])
def test_nesting_and_digits_without_end_are_refused(name: str, hostile: bytes) -> None:
    assert PARSERS[name].problem(hostile) == ""


@pytest.mark.parametrize("name", ["policy", "spec-toml"])
@pytest.mark.parametrize(
    "hostile", [b"x = " + NESTED[:20_000], b"x = " + DIGITS, b"x = 1e" + DIGITS, b"x" + b".x" * 2000 + b" = 1"]
)
def test_so_they_are_in_toml(name: str, hostile: bytes) -> None:
    """A file of an auditor or a lead, but one that may have come by mail."""
    assert len(hostile) < MAX_POLICY_BYTES
    assert PARSERS[name].problem(hostile) == ""


@pytest.mark.parametrize(
    "name", ["canonical-json", "envelope", "statement-result", "transcript", "roster", "log-record"]
)
def test_memory_stays_in_proportion(name: str) -> None:
    data = b"[" + b"[]," * (MAX_JSON_BYTES // 96) + b"[]]"
    tracemalloc.start()
    assert PARSERS[name].problem(data) == ""
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY
