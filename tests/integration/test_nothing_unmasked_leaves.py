"""Everything the coordinator receives, decrypted and searched for what must not be in it.

One institution plants contributions that can be recognised; a proxy that holds both sides' TLS keys keeps every byte on its
way to the coordinator. The search finds them where they are unmasked, and the masked vector where it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import (
    Institution,
    chosen_manifest,
    chosen_statistics,
    session_spec,
    write_prompts,
    write_site,
)
from testkit.sessions import SITES, Runs
from testkit.wiretap import Wiretap
from vdb_participant.data.dataset import Dataset
from vdb_participant.noise.samplers import SAMPLERS
from vdb_participant.session.contribution import noised_lanes
from vdb_participant.session.preparation import Resources
from vdb_participant.session.progress import Progress
from vdb_participant.session.records import Consented, Measured
from vdb_participant.session.terms import SealedTerms
from vdb_participant.site.institution import Site
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.canonical import encode_base64
from vdb_shared.privacy.mechanism import encode, uniform_bytes_needed
from vdb_shared.secagg.encoding import encode_lanes, ring_to_bytes
from vdb_shared.secagg.vectors import vector_bytes

TAPPED = 2
"""Seat whose connection is recorded."""

SCORE = 0.6180339887498949
"""Of every planted clip: its sums and squares are digits that nobody else has."""

PIECE = 16
"""Bytes of a needle: two neighbouring lanes that are not zero; by chance 2^-128 for each place."""


@dataclass
class PlantedMeasurement:
    """Sums that no other institution has, and every form in which they could be recognised."""

    needles: dict[str, list[bytes]] = field(default_factory=dict)
    lanes: list[NDArray[np.int64]] = field(default_factory=list)

    def __call__(
        self, site: Site, sealed: SealedTerms, consented: Consented, resources: Resources, progress: Progress
    ) -> Measured:
        terms = sealed.terms
        planted = chosen_statistics(sealed, 3, SCORE)
        exact = encode(
            terms.layout, terms.calibration, planted, bytes(uniform_bytes_needed(terms.layout, terms.calibration))
        )
        noised = noised_lanes(sealed.opening.spec, terms, planted, os.urandom, SAMPLERS)
        sums = np.concatenate([planted[block.name] for block in terms.layout.blocks])
        self.lanes.append(noised.copy())  # the agent overwrites its own
        self.needles = {
            "sums": _pieces(sums.astype("<f8").tobytes()),
            "sums, big-endian": _pieces(sums.astype(">f8").tobytes()),
            "sums, single precision": _pieces(sums.astype("<f4").tobytes()),
            "sums as text": [repr(float(value)).encode() for value in sums if 0 < value != int(value)],
            "lanes without noise": _pieces(exact.astype("<i8").tobytes()),
            "lanes with noise": _pieces(noised.astype("<i8").tobytes()),
            "lanes with noise, big-endian": _pieces(noised.astype(">i8").tobytes()),
            "lanes with noise and offset": _pieces(ring_to_bytes(encode_lanes(noised))),
            "lanes in base64": [encode_base64(ring_to_bytes(encode_lanes(noised)))[:48].encode()],
            "prompts": [f"prompt {n} of site {TAPPED}".encode() for n in range(3)],
            "folders": [str(resources.data).encode(), str(resources.models).encode()],
        }
        private = Dataset.open(resources.data).private
        self.needles |= {
            "records": [part for record in private for part in record if any(part)],
            "lists of records": [private.body, bytes.fromhex(private.digest[7:]), private.digest[7:].encode()],
            "data set": [bytes.fromhex(private.dataset[7:]), private.dataset[7:].encode()],
        }
        return Measured(noised, chosen_manifest(sealed), private)


def _pieces(data: bytes) -> list[bytes]:
    """Return non-trivial pieces of a vector, at every lane."""
    found = (data[start : start + PIECE] for start in range(0, len(data) - PIECE, 8))
    return [piece for piece in found if any(piece[:8]) and any(piece[8:])]


def found_in(haystack: bytes, needles: dict[str, list[bytes]]) -> set[str]:
    """Return which kinds of needle a haystack holds."""
    return {kind for kind, pieces in needles.items() if any(piece in haystack for piece in pieces)}


@dataclass(frozen=True)
class Recorded:
    """A finished session with one tapped connection."""

    tap: Wiretap
    planted: PlantedMeasurement
    bundle: bytes
    masked: bytes


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    path = tmp_path_factory.mktemp("tapped")
    with running_coordinator(path / "lead", institutions=SITES) as coordinator:
        session = coordinator.admin.create_session(session_spec(path / "models"))
        tap = Wiretap(coordinator, coordinator.identities[TAPPED], path / "tap")
        planted = PlantedMeasurement()
        institutions = _institutions(coordinator, path, session, tap)
        institutions[TAPPED].measure = planted  # type: ignore[assignment]  # another measurement of the same shape
        runs = Runs()
        runs.start(*institutions)
        runs.join()
        tap.close()
        assert not runs.errors
        bundle = next(iter(runs.outcomes.values())).bundle.read_bytes()
        evidence = Evidence(bundle, root=None, policy=DEFAULT_POLICY, draft=False)
        digest = evidence.rounds.masked.headers[TAPPED].masked_digest
        masked = next(
            data
            for data in _vectors(coordinator.home.blobs, vector_bytes(len(evidence.totals)))
            if data in tap.payloads
        )
    assert digest
    return Recorded(tap, planted, bundle, masked)


def _institutions(coordinator: RunningCoordinator, path: Path, session: str, tap: Wiretap) -> list[Institution]:
    found = []
    for number, identity in enumerate(coordinator.identities):
        address = tap.address if number == TAPPED else coordinator.address
        site = write_site(path / identity.institution, identity, address)
        resources = Resources(write_prompts(path / f"data-{number}", number), path / "models")
        found.append(Institution(site, resources, session))
    return found


def _vectors(blobs: Path, size: int) -> list[bytes]:
    return [file.read_bytes() for file in blobs.rglob("*") if file.is_file() and file.stat().st_size == size]


def test_nothing_recognisable_reaches_the_coordinator(recorded: Recorded) -> None:
    assert all(recorded.planted.needles.values()), "a form in which nothing could be recognised"
    assert found_in(recorded.tap.payloads, recorded.planted.needles) == set()
    assert found_in(recorded.tap.raw, recorded.planted.needles) == set()


def test_the_recording_holds_the_upload(recorded: Recorded) -> None:
    """The search looks in the right place: the masked vector of the tapped institution went through it, whole."""
    assert recorded.masked in recorded.tap.payloads
    assert len(recorded.tap.raw) > len(recorded.masked)


def test_the_search_finds_an_unmasked_upload(recorded: Recorded) -> None:
    """The attack that succeeds when the protection is off: the same recording with the masks taken away."""
    unmasked = ring_to_bytes(encode_lanes(recorded.planted.lanes[0]))
    leaking = recorded.tap.payloads.replace(recorded.masked, unmasked + recorded.masked[len(unmasked) :])
    assert leaking != recorded.tap.payloads
    assert "lanes with noise and offset" in found_in(leaking, recorded.planted.needles)


def test_the_published_bundle_holds_no_contribution_either(recorded: Recorded) -> None:
    assert found_in(recorded.bundle, recorded.planted.needles) == set()
