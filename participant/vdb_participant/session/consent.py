"""The plan that an institution consents to: what will leave, what it costs, what will be done here.

Promises that the text holds everything the site has a say in, and that what is signed is the digest of exactly the text that
was shown. A random number in it keeps the published digest from betraying the private counts. Pure. Leaves asking to the
command line.

Source: protos/README.md §9.2 (join), §12.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

from vdb_participant.data.ratings import NO_RATINGS, Ratings
from vdb_participant.session.claim import Opinion
from vdb_participant.session.effort import NO_EFFORT, Effort
from vdb_participant.session.in_short import HEADING, hours_left, in_short
from vdb_participant.session.plan_leaving import leaves
from vdb_participant.session.plan_privacy import ROUND_UP, costs, figures
from vdb_participant.session.plan_rows import rows
from vdb_participant.session.plan_schedule import people, times
from vdb_participant.session.terms import Opening
from vdb_participant.site.policy import PolicyFile
from vdb_shared.canonical import decimal_string, sha256_digest
from vdb_shared.metrics.statistic import Layout
from vdb_shared.privacy.accountant import Accounting
from vdb_shared.privacy.conversion import epsilon_of_rho
from vdb_shared.spec import Grade as ClipClass
from vdb_shared.spec import Profile, Spec
from vdb_shared.tasks import checked_count
from vdb_shared.wording import counted, one_line, quoted

_OF_A_METRIC: Final = ("extractor", "limit", "features", "bandwidth", "of")

_PROFILES: Final[Mapping[Profile, str]] = {
    "exact": "weights in float32, and nothing switched on that may change pixels for speed or memory.",
    "balanced": "weights in bfloat16 and compiled models, which is faster.",
    "fast": "weights in bfloat16, caches, and whatever else of the machine makes models faster.",
    "low-memory": "weights in bfloat16, few of them on the device at a time, which is slower.",
    "auto": "each machine takes the fastest profile of the class that fits it.",
}
_CLASSES: Final[Mapping[ClipClass, str]] = {
    "exact": "no shortcut changes their pixels.",
    "accelerated": "shortcuts may change their pixels.",
}
"""What the words of a spec mean for whoever runs its models."""

_ONE_WORD: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Budget:
    """What the session costs, in rho, and what remains.

    Attributes:
        cost: largest rho of the session, whoever joins.
        spent: by the earlier sessions that count.
        policy: the site's own.
        sessions: how many count.
        opinions: what two accountants agree on; empty where nothing is noised.
    """

    cost: Decimal
    spent: Decimal
    policy: PolicyFile
    sessions: int
    opinions: tuple[Opinion, ...]

    @property
    def left(self) -> Decimal:
        """What would remain afterwards."""
        return self.policy.rho_cap - self.spent - self.cost

    @property
    def epsilon(self) -> Decimal:
        """What all sessions that count would have cost afterwards, at the policy's delta; its limit is epsilon_total."""
        return epsilon_of_rho(self.spent + self.cost, self.policy.delta)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What of the institution's data the session would use.

    Attributes:
        folder: where the data are.
        dataset: content id.
        records: how many private records the data hold, used or not.
        prompts, clips: private prompts and reference clips that would be used.
        unusable: items that cannot be used.
        captioned: clips that models would start from, with the words that go with them.
        ratings: what people said of the spec's clips, as far as it would be used.
        cluster: address of the Ray cluster that would make clips of them; "" for this machine.
        endpoints: address of each model that runs elsewhere, by its id.
        effort: what making the clips would take.
    """

    folder: Path
    dataset: str
    records: int
    prompts: int
    clips: int
    unusable: int
    captioned: int = 0
    ratings: Ratings = NO_RATINGS
    cluster: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    effort: Effort = NO_EFFORT


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan to consent to."""

    text: str

    @property
    def short(self) -> str:
        """The few lines of it that say the most; what is consented to is all of it."""
        begin = self.text.index(f"\n{HEADING}\n")  # no title can have a line of its own
        return self.text[begin + 1 :].partition("\n\n")[0]

    @property
    def digest(self) -> str:
        """What the join statement names."""
        return sha256_digest(self.text.encode())


def make_plan(
    opening: Opening, layout: Layout, accounting: Accounting, budget: Budget, holdings: Holdings, number: bytes
) -> Plan:
    """Return the plan of a session.

    Args:
        opening: the session, verified.
        layout: of its masked vector.
        accounting: its cost, with as many institutions as may join.
        budget: what remains.
        holdings: our data.
        number: 16 random bytes.
    """
    parts = (
        _head(opening),
        in_short(
            opening,
            layout,
            accounting,
            _left(budget),
            _works(opening, holdings.effort, budget.policy),
            tuple(dict.fromkeys(holdings.endpoints.values())),
        ),
        leaves(opening, layout, holdings.endpoints),
        costs(opening.spec, accounting, budget, holdings),
        figures(opening.spec, accounting, budget.opinions),
        _work(opening.spec, holdings),
        holdings.effort.lines(),
        times(opening, budget.policy),
        people(opening),
        _prompts(opening.spec),
    )
    lines = [line for part in map(tuple, parts) if part for line in (*rows(part), "")]
    return Plan("\n".join((*lines, *rows([_numbered(number)]), "")))


def _numbered(number: bytes) -> str:
    return (
        f"Plan number {number.hex()}, drawn at random: our statement of joining names the digest of this text, and nobody who "
        "sees that can try out what else stands in the text."
    )


def _head(opening: Opening) -> Iterator[str]:
    spec = opening.spec
    yield f"Session  {opening.session}"
    yield f"Title    {quoted(spec.title)}"
    yield f"Purpose  {quoted(spec.purpose)}"
    yield f"Spec     {spec.digest}"
    yield f"Of       consortium {opening.roster.consortium}, whose members are named below"
    if opening.supersedes is not None:
        yield f"Replaces  the result of {opening.supersedes}"


def _left(budget: Budget) -> str:
    total = decimal_string(budget.policy.epsilon_total)
    spent = ROUND_UP.plus(budget.epsilon)
    delta = decimal_string(budget.policy.delta)
    return f"with what was spent before {decimal_string(spent)} of {total} in all, at delta {delta}"


def _work(spec: Spec, holdings: Holdings) -> Iterator[str]:
    video, made = spec.video, len(spec.models) * len(spec.prompts) * spec.generation.samples
    records = sum(holdings.captioned if model.start else holdings.prompts for model in spec.models)
    private = records * spec.generation.samples
    yield "WORK HERE:"
    yield f"  Data {holdings.folder}: {counted(holdings.prompts, 'prompt')} and {counted(holdings.clips, 'clip')} would be used"
    starting = [model.id for model in spec.models if model.start]
    if starting:
        captioned = f"{counted(holdings.captioned, 'prompt')} with a clip of its own"
        yield f"  and {captioned}, from which {', '.join(starting)} would start"
    if holdings.unusable:
        yield f"  and {counted(holdings.unusable, 'item')} cannot be used; `vdb-participant data check` lists them"
    yield from _ratings(spec, holdings.ratings)
    yield from _elsewhere(holdings)
    twice = checked_count(spec)
    again = (
        f", and our share of {twice} of these once more, to compare them with what another institution made"
        if twice
        else ""
    )
    yield (
        f"  Generate {counted(private, 'private clip')} and our share of {made} public ones{again} ({video.frames} frames of "
        f"{video.width}x{video.height}, {video.fps} a second, {spec.generation.steps} steps and guidance "
        f"{decimal_string(spec.generation.guidance)} unless a model has its own)."
    )
    profile, clip_class = spec.generation.profile, spec.generation.clip_class
    yield f"  Profile {profile}: {_PROFILES[profile]}"
    yield f"  Class {clip_class}, of all clips here and elsewhere: {_CLASSES[clip_class]}"
    for model in spec.models:
        others = model.model_dump(mode="json", exclude={"id", "pipeline", "manifest"}, exclude_none=True)
        own = "".join(f", {name} {_setting(value)}" for name, value in others.items())
        yield f"  Model {model.id} ({model.pipeline}) {model.manifest}{own}"
    for extractor in spec.extractors:
        precision = f", {extractor.precision} on GPUs" if extractor.precision else ""
        yield f"  Extractor {extractor.id} ({extractor.architecture}{precision}) {extractor.manifest}"
    for metric in spec.metrics:
        set_to = metric.model_dump(mode="json", include=set(_OF_A_METRIC), exclude_none=True)
        settings = "".join(f", {name} {value}" for name, value in set_to.items())
        yield f"  Metric {metric.id} on {metric.inputs} inputs, weight {decimal_string(metric.weight)}{settings}"
    yield f"  Of our prompts, share {decimal_string(spec.generation.private_share)} is used, each chosen by its own words."
    if spec.generation.negative_prompt:
        yield f"  Negative prompt: {quoted(spec.generation.negative_prompt)}"
    yield f"  {counted(len(spec.prompts), 'public prompt')}: see PUBLIC PROMPTS at the end."


def _prompts(spec: Spec) -> Iterator[str]:
    """Yield the public prompts, which are many: nothing but the plan's number comes after them."""
    yield f"PUBLIC PROMPTS ({len(spec.prompts)}):"
    for prompt in spec.prompts:
        condition = f", from {prompt.condition}" if prompt.condition else ""
        yield f"    {prompt.id}: {quoted(prompt.text)}{condition}"


def _ratings(spec: Spec, ratings: Ratings) -> Iterator[str]:
    if not any(metric.inputs == "ratings" for metric in spec.metrics):
        return
    number = f"{counted(len(ratings.votes), 'vote')} and {counted(len(ratings.scores), 'score')}"
    yield f"  Ratings by {counted(len(ratings.raters), 'person', 'people')} of clips of this spec would be used: {number}."
    yield "  Each person is one record, and all ratings of one weigh as much as those of another"
    if ratings.unusable:
        place, reason = ratings.unusable[0]
        left_out = counted(len(ratings.unusable), "rating")
        yield f"  and {left_out} cannot be used; the first is {place}, which {one_line(reason)}"


def _elsewhere(holdings: Holdings) -> Iterator[str]:
    if holdings.cluster:
        yield (
            f"  Clips are made on the Ray cluster at {holdings.cluster}, which must be this institution's own: our prompts, "
            "and what clips start from, go to its machines, and whoever may use it could read them"
        )


def _works(opening: Opening, effort: Effort, policy: PolicyFile) -> str:
    if policy.hours is None:
        return effort.in_short()
    usable = hours_left(opening, policy.hours)
    return f"{effort.in_short()}; only {policy.hours.words}, of which {usable:.1f} hours lie before the deadline"


def _setting(value: object) -> str:
    """Return a model's own setting; a text of several words is quoted, so that it does not read like more settings."""
    text = one_line(str(value))
    return text if _ONE_WORD.fullmatch(text) else quoted(text)
