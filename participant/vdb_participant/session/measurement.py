"""The step between the seal and the rounds: generate, measure, encode, add noise.

Promises that the data are those that were consented to, and that the list of what was measured is kept at the site.
Leaves recording them to `agent.py`: the noise cannot be drawn again.
"""

from __future__ import annotations

import os

from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.site import Equipment, measure_site
from vdb_participant.noise.samplers import SAMPLERS
from vdb_participant.session.contribution import noised_lanes, run_manifest
from vdb_participant.session.preparation import Resources, consented_data, joined
from vdb_participant.session.progress import Progress
from vdb_participant.session.records import Consented, Measured
from vdb_participant.session.samples import SAMPLES_FILE, KeptSamples
from vdb_participant.session.terms import SealedTerms
from vdb_participant.site.institution import Site
from vdb_participant.site.storage import write_durably
from vdb_shared.bundle.samples import SALT_BYTES


def measured_here(
    site: Site, sealed: SealedTerms, consented: Consented, resources: Resources, progress: Progress
) -> Measured:
    """Return the lanes and the manifest of this site.

    Raises:
        DatasetError: the data are not those that were consented to.
        ModelError, SpecError, StoreError: see `measure_site`.
    """
    spec = sealed.opening.spec
    data = consented_data(resources.data, consented, spec)
    with joined(resources, site.folder.clips) as cluster:
        equipment = Equipment(
            resources.models,
            resources.models,
            resources.device,
            resources.registry,
            workers=resources.workers,
            tell=resources.tell,
            cluster=cluster,
            together=resources.together,
            egress=site.folder.egress.absolute(),
        )
        store = ClipStore(site.folder.clips)
        found = measure_site(spec, sealed.shard, data, equipment, store, progress, checked=sealed.checked)
    kept = KeptSamples(os.urandom(SALT_BYTES), [sample.to_json() for sample in found.samples])
    write_durably(site.folder.session(sealed.opening.session) / SAMPLES_FILE, kept.encode())
    manifest = run_manifest(spec, found.manifest, kept.samples, kept.root)
    lanes = noised_lanes(spec, sealed.terms, found.statistics, os.urandom, SAMPLERS)
    return Measured(lanes, manifest, data.private)
