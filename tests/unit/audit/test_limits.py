"""Hostile but well-formed values: a report, never a traceback, never work out of proportion to the file."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.bundles import small_session
from testkit.small_specs import small_spec
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.figures import accounting_json, metrics_json
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.record import METRICS
from vdb_shared.errors import PrivacyError, StatisticError
from vdb_shared.seal import seal_terms

MEMORY = 64 * 2**20


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(min_value=-(2**50), max_value=2**50), min_size=1, max_size=12),
    st.sampled_from(["1.0", "1e6", "1e-6"]),
)
def test_any_total_gives_figures_or_a_statistic_error(pattern: list[int], limit: str) -> None:
    spec = small_spec(
        metrics=f"""[
  {{ id = "frechet-videomae@1", inputs = "public", extractor = "tiny-videomae", limit = {limit} }},
  {{ id = "latency@1", inputs = "private", limit = {limit} }},
]"""
    )
    terms = seal_terms(spec, range(5))
    totals = np.resize(np.array(pattern, dtype=np.int64), terms.layout.lanes)
    try:
        figures = metrics_json(spec, terms, totals, 4)
    except StatisticError:
        return
    assert figures.startswith(b"{")


@pytest.mark.parametrize(
    "privacy", ["epsilon = 64, delta = 1e-300", "epsilon = 1e-300, delta = 1e-6", "epsilon = 64, delta = 1e-30"]
)
def test_promises_beyond_any_sense_are_refused(privacy: str) -> None:
    spec = small_spec(privacy=f"{{ {privacy}, maximum_records = 2000 }}")
    try:
        accounting_json(seal_terms(spec, range(5)))
    except PrivacyError:
        return


def test_a_small_spec_with_millions_of_clips_costs_little_memory() -> None:
    prompts = ",".join(f'{{ id = "p{number}", text = "x" }}' for number in range(4096))
    spec = small_spec(
        prompts=f"[{prompts}]",
        generation="{ steps = 2, guidance = 2.0, samples = 64, private_share = 1 }",
    )
    tracemalloc.start()
    terms = seal_terms(spec, range(5))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert terms.public_tasks == 3 * 4096 * 64
    assert peak < MEMORY


def test_an_audit_costs_little_memory() -> None:
    data = small_session().bundle()
    tracemalloc.start()
    verify(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY


def test_a_member_is_parsed_only_once() -> None:
    evidence = Evidence(small_session().bundle(), None, DEFAULT_POLICY, draft=False)
    assert evidence.record is evidence.record
    assert evidence.terms is evidence.terms


def test_nothing_of_an_oversized_bundle_is_parsed_for_its_facts() -> None:
    huge = small_session().edited({METRICS: b"[" + b"[]," * (2 * 2**20) + b"[]]"})
    report = verify(huge)
    assert report.first_failure is not None
    assert report.first_failure.id == "V02"
    assert report.facts is None
