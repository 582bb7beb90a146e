"""Institutions with a real agent: state folders, data and weights on disk, measuring replaced by chosen statistics.

Weights are a few bytes that no library could load; whoever wants real models takes `testkit.tiny`.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testkit.checked import checked_clips
from testkit.coordinator import Identity
from testkit.specs import small_spec
from vdb_participant.agent import Outcome, Request, take_part
from vdb_participant.data.dataset import Dataset
from vdb_participant.measure.sample import Sample
from vdb_participant.models import manifest_digest
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.network.link import Link
from vdb_participant.noise.samplers import SAMPLERS
from vdb_participant.session.consent import Plan
from vdb_participant.session.contribution import noised_lanes
from vdb_participant.session.preparation import Resources
from vdb_participant.session.progress import Progress
from vdb_participant.session.records import Consented, Measured
from vdb_participant.session.samples import SAMPLES_FILE, KeptSamples
from vdb_participant.session.terms import SealedTerms
from vdb_participant.site.config import ConfigFile, StateFolder
from vdb_participant.site.failpoints import Failpoints, failpoints_from_environment
from vdb_participant.site.institution import Site, open_site
from vdb_participant.site.policy import DEFAULT_POLICY
from vdb_participant.site.storage import write_durably
from vdb_shared.bundle.statement import NamedDigest, RunManifest
from vdb_shared.canonical import sha256_digest
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.spec import Cohort, Deadlines, Spec
from vdb_shared.tasks import ClipTask


def no_passphrase() -> bytes:
    raise AssertionError("the keys are plain")


def write_site(folder: Path, identity: Identity, address: str) -> Site:
    """Write the state folder that enrolment would have written, and open it."""
    state = StateFolder(folder)
    member = identity.roster.verify(identity.root_fingerprint, None).member(identity.institution)
    config = ConfigFile(
        consortium=identity.roster.verify(identity.root_fingerprint, None).consortium,
        institution=identity.institution,
        address=address,
        root_fingerprint=identity.root_fingerprint,
        ca_certificate=identity.ca_certificate.decode(),
        spiffe_id=member.spiffe_id,
    )
    write_durably(state.statement_key, identity.statement_key.to_pem(None))
    write_durably(state.tls_key, identity.tls_key)
    write_durably(state.certificate, identity.certificate_chain)
    write_durably(state.policy, DEFAULT_POLICY.encode())
    write_durably(state.config, config.encode())
    return open_site(state, no_passphrase)


def write_weights(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Write stand-ins for weights and return their manifest digests by name."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(f"weights of {name}".encode())
    return {name: manifest_digest(folder / name) for name in names}


def write_prompts(folder: Path, number: int, count: int = 3) -> Path:
    """Write a data directory with prompts only."""
    folder.mkdir(parents=True)
    lines = [json.dumps({"id": f"p{n}", "prompt": f"prompt {n} of site {number}"}) for n in range(count)]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def session_spec(folder: Path, *, minimum: int = 4, mechanism: str = "distributed-discrete-gaussian") -> Spec:
    """Return a spec over stand-in weights in `folder`, whose metrics need prompts but no reference clips."""
    spec = small_spec()
    digests = write_weights(folder, (*(model.id for model in spec.models), "clip-tiny"))
    return spec.model_copy(
        update={
            "cohort": Cohort.model_validate({"minimum": minimum, "collusion": 1, "dropout": "0.25"}),
            "deadlines": Deadlines(joining=60, computing=60, round=20, countersigning=20),
            "privacy": spec.privacy.model_copy(update={"mechanism": mechanism}),
            "generation": spec.generation.model_copy(update={"private_share": Decimal(1)}),
            "models": tuple(model.model_copy(update={"manifest": digests[model.id]}) for model in spec.models),
            "extractors": tuple(
                item.model_copy(update={"manifest": digests[item.id]}) for item in spec.extractors if item.id in digests
            ),
            "metrics": tuple(metric for metric in spec.metrics if metric.id != "frechet-videomae@1"),
        }
    )


def chosen_statistics(sealed: SealedTerms, private: int, score: float) -> dict[str, NDArray[np.float64]]:
    """Return the sums of our public share and so many private clips of each model, all with the same score."""
    found: dict[str, NDArray[np.float64]] = {}
    for block in sealed.terms.layout.blocks:
        side, model, _ = block.name.split("/", 2)
        clips = private if side == "private" else sum(task.model == model for task in sealed.shard)
        values = found[block.name] = np.zeros(block.dims)
        if block.name.endswith("/count"):
            values[0] = clips
        elif block.name.endswith("/moments"):
            values[:2] = clips * score, clips * score**2
        elif block.name.endswith("/histogram"):
            values[int(score * 31)] = clips
    return found


@dataclass
class ChosenMeasurement:
    """Measures nothing: returns given statistics, encoded and noised; implements Measure. Counts its calls."""

    clips: int = 3
    score: float = 0.5
    calls: int = 0
    statistics: list[Statistics] = field(default_factory=list)

    def __call__(
        self, site: Site, sealed: SealedTerms, consented: Consented, resources: Resources, progress: Progress
    ) -> Measured:
        self.calls += 1
        progress("measuring nothing", 1, 1)
        spec = sealed.opening.spec
        statistics = chosen_statistics(sealed, self.clips, self.score)
        self.statistics.append(statistics)
        lanes = noised_lanes(spec, sealed.terms, statistics, os.urandom, SAMPLERS)
        kept = chosen_samples(sealed, self.clips)
        write_durably(site.folder.session(sealed.opening.session) / SAMPLES_FILE, kept.encode())
        manifest = chosen_manifest(sealed).model_copy(update={"sample_root": kept.root})
        return Measured(lanes, manifest, Dataset.open(resources.data).private)


def chosen_samples(sealed: SealedTerms, private: int) -> KeptSamples:
    """Return the list of clips that never were: our public share, clips that count elsewhere, private ones of each model."""
    spec = sealed.opening.spec
    tasks = [("public", task) for task in sealed.shard]
    tasks += [("second", item.task) for item in sealed.checked if not item.counted]
    tasks += [
        ("private", ClipTask(model.id, f"secret {number}", 0)) for model in spec.models for number in range(private)
    ]
    samples = [
        Sample(
            side,
            task.model,
            task.prompt,
            task.sample,
            sha256_digest(repr(task).encode()),
            sha256_digest(b"shares"),
            None,
        )
        for side, task in tasks
    ]
    return KeptSamples(os.urandom(32), [sample.to_json() for sample in samples])


def chosen_manifest(sealed: SealedTerms) -> RunManifest:
    """Return the manifest of a run that never was, of our public share, without a list of clips."""
    spec = sealed.opening.spec
    return RunManifest(
        environment={"python": "3.11"},
        models=tuple(NamedDigest(id=item.id, manifest=item.manifest) for item in spec.models),
        extractors=tuple(NamedDigest(id=item.id, manifest=item.manifest) for item in spec.extractors),
        profile="exact",
        public_clips_made=len(sealed.shard),
        public_clips_failed=0,
        sample_root=KeptSamples(bytes(32), []).root,
        checked=checked_clips(spec, sealed.terms.position(sealed.opening.seat), len(sealed.terms.seats)),
    )


@dataclass
class Institution:
    """One institution's agent in one session."""

    site: Site
    resources: Resources
    session: str
    measure: ChosenMeasurement = field(default_factory=ChosenMeasurement)
    failpoints: Failpoints = field(default_factory=Failpoints)
    plans: list[Plan] = field(default_factory=list)
    """What was shown and consented to."""

    @property
    def folder(self) -> Path:
        return self.site.folder.session(self.session)

    def request(self) -> Request:
        return Request(
            self.session, self.resources, self.plans.append, failpoints=self.failpoints, measure=self.measure
        )

    def take_part(self, link: Link | None = None) -> Outcome:
        """Run the agent to its end, over gRPC unless another link is given."""
        if link is not None:
            return take_part(self.site, link, self.request())
        with Client(Connection(self.site.config.address, self.site.tls, self.site.egress)) as client:
            return take_part(self.site, client, self.request())


def program_of(institution: Institution) -> list[str]:
    """Return the command of a process that runs this institution's agent with its chosen measurement."""
    words = (
        institution.site.folder.path,
        institution.resources.data,
        institution.resources.models,
        institution.session,
    )
    return [sys.executable, "-m", "testkit.institutions", *map(str, words)]


def main() -> None:
    """Run one agent in a process of its own; VDB_FAILPOINTS says where it ends."""
    folder, data, models, session = sys.argv[1:]
    site = open_site(StateFolder(Path(folder)), no_passphrase)
    resources = Resources(Path(data), Path(models))
    Institution(site, resources, session, failpoints=failpoints_from_environment()).take_part()


if __name__ == "__main__":
    main()
