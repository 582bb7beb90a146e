"""Everything that can be refused, refused before anything is promised: policy, privacy claim, weights, data, budget.

Promises that after `prepare` returned, a join would not fail for a reason that could have been known. Writes nothing but an
empty ledger, how long models took where they are timed, and for a cluster a token that its machines look for and that is
removed again. Leaves asking for consent to the command line and joining to `agent.py`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from vdb_participant.data.conditions import public_conditions
from vdb_participant.data.folder import data_root
from vdb_participant.data.inputs import Inputs, inputs_of
from vdb_participant.generation.progress import Consumer, nobody
from vdb_participant.generation.timings import Timings
from vdb_participant.models import Weights, check_prompts_stay, verify_extractors, verify_model
from vdb_participant.session.claim import Opinion, check_claim, check_cost_at
from vdb_participant.session.consent import Budget, Holdings, Plan, make_plan
from vdb_participant.session.effort import Effort
from vdb_participant.session.in_short import measuring_ends
from vdb_participant.session.records import Consented
from vdb_participant.session.terms import Opening, SealedTerms
from vdb_participant.site.institution import Site
from vdb_participant.site.ledger import Ledger
from vdb_participant.site.policy import PolicyFile, check_address, check_cost, check_models, check_policy
from vdb_participant.site.receipts import check_kept
from vdb_shared.canonical import decimal_string
from vdb_shared.clips import clip_terms
from vdb_shared.errors import BudgetError, DatasetError, UsageError
from vdb_shared.privacy.accountant import Accounting, account
from vdb_shared.privacy.conversion import rho_of_multiplier
from vdb_shared.privacy.record_list import RecordList
from vdb_shared.registry.classes import EXTERNAL
from vdb_shared.registry.external import Endpoint
from vdb_shared.registry.rows import Registry, load_registry
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import Spec

if TYPE_CHECKING:
    from vdb_participant.data.dataset import Dataset
    from vdb_participant.generation.cluster import Cluster

PLAN_NUMBER_BYTES: Final = 16
LIBRARIES: Final = ("torch", "diffusers", "transformers", "safetensors", "av", "opendp", "opacus", "zstandard")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a site brings to a session.

    Attributes:
        data: data directory.
        models: folder of <id>/ folders of weights, of models and extractors.
        device: "auto", "cpu", "cuda" or "cuda:N".
        registry: folder of the site's own registry files, where it has any.
        workers: processes that generate on the CPU; each GPU has one.
        tell: told of every step and clip, in numbers that stay here; must not wait.
        say: told in lines for people what is done before consent is asked for, and why, and what is waited for afterwards.
        cluster: HOST:PORT of the Ray cluster that makes clips, whose machines must have all these paths, so that they are
            absolute; "" for this machine.
        together: GPUs of this machine that make each clip together.
        egress: journal of what leaves for endpoints when nothing is federated; a session takes its site's.
        timed: whether models are timed before consent is asked for; the command line does, unless told not to.
        allow_unnoised: for tests only: take part although the spec adds no noise.
    """

    data: Path
    models: Path
    device: str = "auto"
    registry: Path | None = None
    workers: int = 1
    tell: Consumer = nobody
    say: Callable[[str], None] = nobody
    cluster: str = ""
    together: int = 1
    egress: Path | None = None
    timed: bool = False
    allow_unnoised: bool = False


Withheld = Callable[[Spec], Mapping[str, str]]
"""Given the spec when all else is checked: the models that may not be run yet, each with the reason. May raise."""


def none_withheld(_spec: Spec) -> Mapping[str, str]:
    """Let every model be run."""
    return {}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A session that could be joined.

    Attributes:
        spec: of the session.
        plan: what to consent to.
        dataset: content id of the data.
        cost: the most that it debits, in rho.
    """

    spec: Spec
    plan: Plan
    dataset: str
    cost: Decimal


def prepare(site: Site, opening: Opening, resources: Resources, withheld: Withheld = none_withheld) -> Prepared:
    """Check all that can be checked before joining, and return what to consent to.

    Args:
        site: the institution.
        opening: the session, verified.
        resources: what the site brings to it.
        withheld: says which models must not be timed.

    Raises:
        BudgetError: the site's policy or ledger refuses.
        PrivacyError: the spec does not keep its promise.
        ModelError: weights are missing or changed.
        DatasetError: the data lack what the spec needs.
        UsageError: the device cannot work as the spec's profile says.
    """
    spec = opening.spec
    check_libraries()
    data_root(resources.data)
    check_allowed(site.policy, spec, resources)
    check_hours(site.policy, opening)
    terms = _expected_terms(opening)
    accounting = account(terms.calibration)
    unnoised = resources.allow_unnoised and accounting.rho is None
    opinions = () if unnoised else check_claim(spec, terms, accounting)
    weights = verify_materials(spec, resources)
    from vdb_participant.data.dataset import Dataset  # noqa: PLC0415 - loads torch; all that is quick comes first
    from vdb_participant.session.timing import TimingRun, makers_of  # noqa: PLC0415 - the same

    registry = load_registry(resources.registry)
    with joined(resources, site.folder.clips) as cluster:
        makers = makers_of(spec, registry, resources, cluster)
    data = Dataset.open(resources.data, frames=spec.video.frames)
    inputs = inputs_of(spec, data)
    budget = _budget(site, spec, terms, (accounting, opinions), data.private)
    not_now = {**_out_of_hours(site.policy, spec), **withheld(spec)}
    run = TimingRun(spec, registry, weights, makers, Timings(site.folder.timing), not_now, resources.say)
    effort = run.effort(len(opening.seats), inputs, timed=resources.timed)
    holdings = _holdings(data, inputs, (resources.cluster, _endpoints(spec, registry)), effort)
    plan = make_plan(opening, terms.layout, accounting, budget, holdings, os.urandom(PLAN_NUMBER_BYTES))
    return Prepared(spec, plan, holdings.dataset, budget.cost)


def check_allowed(policy: PolicyFile, spec: Spec, resources: Resources) -> None:
    """Refuse a session that the site's rules do not allow, on what it would be run with.

    Raises:
        BudgetError: names the rule.
    """
    check_policy(policy, spec)
    check_models(policy, spec, load_registry(resources.registry))
    check_cluster(policy, resources)


def check_going_on(policy: PolicyFile, consented: Consented, sealed: SealedTerms, resources: Resources) -> None:
    """Refuse to go on with what the site's rules do not allow any more, or elsewhere than was consented to.

    Raises:
        UsageError: names the rule, or the cluster; the session is not left for that, and nobody is told.
    """
    try:
        check_allowed(policy, sealed.opening.spec, resources)
        if sealed.terms.calibration.noise_multiplier is not None:
            check_cost(policy, rho_of_multiplier(sealed.terms.calibration.noise_multiplier))
    except BudgetError as error:
        raise UsageError(f"consented to, but not gone on with: {error}, or `leave` the session") from error
    if consented.cluster is not None and resources.cluster != consented.cluster:
        where = f"the Ray cluster at {consented.cluster}" if consented.cluster else "this machine"
        raise UsageError(
            f"it was consented to make clips on {where}, and on no other; go on with the options of then, or leave the session"
        )


def consented_data(folder: Path, consented: Consented, spec: Spec) -> Dataset:
    """Return the data of a session.

    Raises:
        DatasetError: they are not those that were consented to.
    """
    from vdb_participant.data.dataset import Dataset  # noqa: PLC0415 - loads torch; all that is quick comes first

    data = Dataset.open(folder, frames=spec.video.frames)
    if data.digest != consented.dataset:
        raise DatasetError(
            f"{folder}: the data are not those that were consented to ({consented.folder} as it was then); restore them and "
            "run again"
        )
    return data


def check_hours(policy: PolicyFile, opening: Opening) -> None:
    """Refuse a session of which no hour is left in which models may run here: whoever joined it would drop out.

    Raises:
        BudgetError: names the rule and the deadline.
    """
    ends = measuring_ends(opening)
    if policy.hours is not None and not policy.hours.within(datetime.now(UTC), ends):
        raise BudgetError(
            f"policy.toml: gpu_hours ({policy.hours.words}) leaves no time until clips must be measured, at the latest "
            f"{ends:%Y-%m-%d %H:%M:%S} UTC; decline, or change the policy"
        )


def check_cluster(policy: PolicyFile, resources: Resources) -> None:
    """Refuse a Ray cluster whose address the site's rules do not name.

    Raises:
        BudgetError: names the rule and the address.
    """
    if resources.cluster:
        check_address(policy, resources.cluster, "the Ray cluster")


def _out_of_hours(policy: PolicyFile, spec: Spec) -> Mapping[str, str]:
    """Return the models that are not to be timed now, with the reason: all, outside of the hours of the policy, or none."""
    if policy.hours is None or policy.hours.open_at(datetime.now(UTC)):
        return {}
    reason = f"models run here {policy.hours.words} alone (policy.toml, gpu_hours), so none was run now"
    return {model.id: reason for model in spec.models}


@contextmanager
def joined(resources: Resources, clips: Path) -> Iterator[Cluster | None]:
    """Join the cluster that makes clips, if they are not made here, for the length of a block.

    Args:
        resources: names it.
        clips: folder of the store.

    Raises:
        UsageError: see `cluster.connected`.
    """
    if not resources.cluster:
        yield None
        return
    from vdb_participant.generation.cluster import connected  # noqa: PLC0415 - loads torch

    with connected(resources.cluster, resources.device, resources.workers, clips) as cluster:
        yield cluster


def check_libraries() -> None:
    """Check that what measuring will import is installed; importing it takes long and comes later.

    Raises:
        ModuleNotFoundError: names the first that is missing.
    """
    for name in LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def verify_materials(spec: Spec, resources: Resources) -> Mapping[str, Weights]:
    """Check that every model, extractor and public condition of a spec is the agreed one, and its clips can be made.

    Returns:
        What each model is made of, by its id.

    Raises:
        ModelError: names the directory and both digests.
        DatasetError: what a public clip starts from is missing or not the agreed file.
        SpecError: clips that a model cannot make; names the field.
    """
    registry = load_registry(resources.registry)
    check_prompts_stay(spec, registry)
    weights = {}
    for model in spec.models:
        clip_terms(spec, model, registry)
        weights[model.id] = verify_model(model, resources.models, registry)
    verify_extractors(spec, resources.models, {extractor.id for extractor in spec.extractors})
    public_conditions(spec, resources.models, registry)
    return weights


def _expected_terms(opening: Opening) -> SealTerms:
    """Return the terms if all that may join do; which of them join changes the scale, but hardly the cost."""
    return seal_terms(opening.spec, opening.seats)


def _endpoints(spec: Spec, registry: Registry) -> Mapping[str, str]:
    """Return the address of each model that runs behind one elsewhere, without what follows the host."""
    rows = {model.id: registry.get(model.id) for model in spec.models if model.pipeline == EXTERNAL}
    found = {name: row.external for name, row in rows.items() if row is not None}
    return {
        name: f"{urlsplit(how.url).scheme}://{urlsplit(how.url).netloc.rpartition('@')[2]}"
        for name, how in found.items()
        if isinstance(how, Endpoint) and not how.is_local
    }


def _holdings(data: Dataset, inputs: Inputs, elsewhere: tuple[str, Mapping[str, str]], effort: Effort) -> Holdings:
    cluster, endpoints = elsewhere
    return Holdings(
        data.directory,
        data.digest,
        records=len(data.private),
        prompts=len(inputs.prompts),
        clips=len(inputs.clips),
        unusable=len(data.problems),
        captioned=len(inputs.captioned),
        ratings=inputs.ratings,
        cluster=cluster,
        endpoints=endpoints,
        effort=effort,
    )


def _budget(
    site: Site,
    spec: Spec,
    terms: SealTerms,
    judged: tuple[Accounting, tuple[Opinion, ...]],
    private: RecordList,
) -> Budget:
    accounting, opinions = judged
    multiplier = terms.calibration.noise_multiplier
    cost = Decimal(0) if multiplier is None else max(rho_of_multiplier(multiplier), accounting.rho or Decimal(0))
    check_cost(site.policy, cost)
    if opinions:
        opinions = (*opinions, check_cost_at(site.policy.delta, spec, terms, cost))
    check_kept(site.folder)
    with Ledger(site.folder.ledger) as ledger:
        found = ledger.standing(private, site.policy.charge)
    budget = Budget(cost, found.spent, site.policy, found.sessions, opinions)
    if budget.left < 0:
        raise BudgetError(
            f"the session would cost rho {decimal_string(cost)}, but of {decimal_string(site.policy.rho_cap)} for these data "
            f"{decimal_string(found.spent)} is spent; see `vdb-participant budget`, decline, or change policy.toml"
        )
    return budget
