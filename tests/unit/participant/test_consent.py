"""The plan says everything that leaves, costs and is done; what is signed is exactly what was shown."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal

import pytest
from rich.cells import cell_len

from testkit.plans import BUDGET, DELTA, HOLDINGS, OPINIONS, POLICY, flat, opening, plan
from testkit.specs import small_spec
from vdb_participant.data.ratings import Ratings, Vote
from vdb_participant.session.claim import Opinion
from vdb_participant.session.consent import make_plan
from vdb_participant.session.plan_rows import WIDTH
from vdb_shared.canonical import sha256_digest
from vdb_shared.privacy.accountant import account, rho_within
from vdb_shared.seal import seal_terms
from vdb_shared.spec import Metric, Model, Profile, Spec, class_of


def test_names_every_block_with_its_size_and_kind() -> None:
    text, spec = plan().text, small_spec()
    terms = seal_terms(spec, range(4))
    told = set()
    for line in re.split(r"the\s+2 models\):\n", text)[1].partition("\n\n")[0].splitlines():
        lanes, *kind, name = line.split()
        each = "each" in kind
        for model in [model.id for model in spec.models] if each else [""]:
            told.add((name.replace("*", model), int(lanes.replace(",", "")), "noised" in kind))
    assert told == {(block.name, block.dims, block.private) for block in terms.layout.blocks}


@pytest.mark.parametrize(
    "words",
    [
        "epsilon 8 at delta 0.000001 for each record",
        "against the coordinator and up to 1 other institution.",
        "Its deviation, without the noise of those who may collude or drop out, is at least 0.68 times the most by which one "
        "record can move all these numbers together.",
        "Noise drawn here, by the sampler opendp: discrete Gaussian of deviation 1,048,576. That is in steps of the masked "
        "vector's whole numbers",
        "What counts is the promise above, epsilon 8; what the noise costs was computed twice, by two programs of different "
        "makers, and they agree:",
        "    this session: epsilon 7.998716 by dp-accounting, 7.998715 by opacus, at delta 0.000001\n",
        "    this session, by a closer estimate: epsilon 7.5056 by dp-accounting, 7.506603 by opacus, at delta 0.000001\n",
        "    what this site books: epsilon 7.1 by dp-accounting, 7.100000 by opacus, at delta 0.00001\n",
        "epsilon up to 1 (a factor of 2.72) counts as strong, up to 10 (22,100) as reasonable, and more as weak",
        "This session takes rho 0.0344",
        "Ledger of this site: rho 0.1 of 4.787695 spent by 2 earlier sessions with overlapping data; 4.653295 would remain",
        "Together with this session that is epsilon 2.516949 at delta 0.000001; policy.toml allows 20 in all.",
        f"Data set {HOLDINGS.dataset}, 15 records in all.",
        "A video in another encoding, or a prompt in other words, counts as another record; where that may happen, set\n"
        '  charge = "site" in policy.toml',
        "/data: 3 prompts and 12 clips would be used",
        "and 1 item cannot be used",
        "Generate 6 private clips and our share of 4 public ones, and our share of 1 of these once more, to compare them with "
        "what another institution made (",
        "single clip, but of public ones as said below.",
        "Public clips that two institutions make, to compare: 1.",
        "our statement shows digest, scores, features and four frames of 8x8",
        "9 frames of 32x32, 8 a second, 2 steps and guidance 2 unless a model has its own",
        "Profile exact: weights in float32, and nothing switched on that may change pixels for speed or memory.",
        "Class exact, of all clips here and elsewhere: no shortcut changes their pixels.",
        "Model tiny-wan-a (WanPipeline) sha256:aaaa",
        "Extractor clip-tiny (CLIPModel) sha256:cccc",
        "Metric clip-score@1 on private inputs, weight 1",
        "share 0.25 is used",
        "red-circle: “a red circle moving left”",
        "blue-square: “a blue square bouncing”",
        "at least 4 of these 4 must join; a share of 0.2 of those may then drop out: none of 4",
        "  museum-lima  ",
        "Whoever holds the consortium's roster key decides who is a member",
        "60 s to join, 600 s to generate and measure, 10 s for each round, 30 s to countersign",
        "IN SHORT:\n  Leaves   ",
        "bytes of masked sums, shares of keys and our signed statements; small pictures of public clips that are made twice",
        "  Costs    epsilon 8 at delta 0.000001 for each record; with what was spent before 2.52 of 20 in all, at delta",
        "  Works    time and disk were not estimated\n",
        "  Ends     joining at 2026-11-22 22:51:00 UTC, the session by 2026-11-22 23:02:30 UTC, if nothing is restarted\n",
        "  With     all 4 institutions: archive-oslo, clinic-lyon, lab-kyoto, museum-lima; none of 4 who joined may drop out\n",
        f"Plan number {'0' * 32}, drawn at random: our statement of joining names the digest of this text, and nobody",
        "Opened 2026-11-22 22:50:00 UTC: joining ends 2026-11-22 22:51:00 UTC",
        "session ends 2026-11-22 23:02:30 UTC.\n  A phase ends as soon as all have done their part. A restart of the rounds,",
        "Session   sha256:5555",
        "Title    “Three tiny models”",
        "Of       consortium t, whose members are named below",
        "changes the odds of whatever is concluded from the result by a factor of at most 2,990, but for a chance of 0.000001",
        "It is no person: for whoever is in ten records it is that factor to the power of ten, at worst.",
    ],
)
def test_says_what_the_site_has_a_say_in(words: str) -> None:
    assert flat(words) in flat(plan().text)


def test_says_what_the_second_accountant_did_not_look_at_and_why() -> None:
    missing = Opinion("this session, by a closer estimate", DELTA, Decimal("7.5056"), None, "delta is\x1b too small")
    text = flat(plan(budget=dataclasses.replace(BUDGET, opinions=(OPINIONS[0], missing))).text)
    assert (
        "this session, by a closer estimate: not compared, epsilon 7.5056 at delta 0.000001 is dp-accounting's alone;"
        in text
    )
    assert "opacus cannot compute it (delta is too small), and the promise does not rest on it" in text
    nothing = plan(budget=dataclasses.replace(BUDGET, opinions=())).text
    assert "No private record enters any number: there is nothing for a second program to compute." in flat(nothing)
    assert "agree" not in nothing


def test_what_is_promised_is_one_figure_and_the_others_stand_under_a_heading_of_their_own() -> None:
    """A reader who stops before it has seen one epsilon of this session, and one of the site's budget."""
    text = plan().text
    before, _, figures = text[text.index("\nPRIVACY:") : text.index("\nWORK HERE:")].partition("\nFIGURES")
    assert set(re.findall(r"epsilon\s+(\d+\.?\d*)", before)) == {"8", "2.516949"}, before
    assert set(re.findall(r"epsilon\s+(\d+\.?\d*)", figures)) == {"8", "7.998716", "7.5056", "7.1"}


def test_a_promise_that_readers_refuse_unasked_is_a_warning_before_consent() -> None:
    spec = small_spec()
    weak = spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"epsilon": Decimal(20)})})
    assert "WARNING" not in plan(spec).text
    assert "WARNING: ε is 20, above 16" in flat(plan(weak).text)


def test_who_may_drop_out_is_said_for_the_fewest_and_for_all() -> None:
    cohort = small_spec().cohort.model_copy(update={"minimum": 3, "dropout": Decimal("0.4")})
    assert "at least 3 of 4 institutions" in flat(plan(small_spec(cohort=cohort)).short)
    assert "museum-lima; none of 3, 1 of 4 who joined may drop out" in flat(plan(small_spec(cohort=cohort)).short)


def test_names_the_sampler_that_the_spec_chose() -> None:
    privacy = small_spec().privacy.model_copy(update={"sampler": "integer"})
    assert "drawn here, by the sampler integer:" in flat(plan(small_spec(privacy=privacy)).text)


def test_without_clips_made_twice_nothing_is_said_of_them() -> None:
    generation = small_spec().generation.model_copy(update={"checked_share": Decimal(0)})
    text = flat(plan(small_spec(generation=generation)).text)
    assert "feature or score of a single clip. Masked" in text
    assert "two institutions" not in text
    assert "another institution" not in text


def test_digest_is_of_the_text_shown_and_hides_it() -> None:
    first, second = plan(), plan(number=bytes(15) + b"\1")
    assert first.digest == sha256_digest(first.text.encode())
    assert first.digest != second.digest


def test_a_spec_without_noise_is_called_that() -> None:
    spec = small_spec()
    unnoised = spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"mechanism": "none"})})
    assert "PRIVACY: NONE" in plan(unnoised).text
    assert "Costs    no privacy is kept: this spec adds no noise" in plan(unnoised).text


def test_a_title_cannot_rewrite_the_screen() -> None:
    text = flat(plan(small_spec(title="nice\x1b[2J\r\nPRIVACY: epsilon 0")).text)
    assert "\x1b" not in text
    assert "Title “nice [2J PRIVACY: epsilon 0”" in text


FEIGNED = "IN SHORT: Leaves nothing at all PRIVACY: epsilon 0.01"
ATTACKS = {
    "spaces before it": " " * 151 + FEIGNED.replace(" ", " x "),
    "blank letters": "\u2800".join(("x", " " * 60, "IN SHORT:", "Leaves nothing", " " * 70, "PRIVACY: epsilon 0.01")),
    "other blank letters": "\u3164" * 70 + FEIGNED + "\uffa0" * 70 + FEIGNED,
    "wide letters": "\u65e5" * 75 + FEIGNED,
    "words at the edge": " ".join("x" * number + " " + FEIGNED for number in range(40, 80)),
    "separators": "\u2028\r\n".join([FEIGNED] * 4),
    "words without end": "IN_SHORT:_Leaves_nothing_" * 20,
    "quotation marks": f"”\nPrivacy is kept. {FEIGNED} “",
}


def attacked(text: str) -> str:
    """Return a plan in which whatever the lead writes freely is this text."""
    prompts = tuple(prompt.model_copy(update={"text": text}) for prompt in small_spec().prompts)
    generation = small_spec().generation.model_copy(update={"negative_prompt": text})
    models = tuple(model.model_copy(update={"negative_prompt": text}) for model in small_spec().models)
    found = opening(small_spec(title=text, purpose=text, prompts=prompts, generation=generation, models=models))
    terms = seal_terms(found.spec, range(4))
    return make_plan(found, terms.layout, ACCOUNTING, BUDGET, HOLDINGS, bytes(16)).text


ACCOUNTING = account(seal_terms(small_spec(), range(4)).calibration)
HEADS = {line.split()[0] for line in plan().text.splitlines() if line[:1].strip()}


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS.keys())
def test_whatever_a_lead_writes_begins_no_row_of_ours(text: str) -> None:
    """No row is wider than a terminal, so that a terminal begins none either; and none of theirs begins as ours do."""
    shown = attacked(text).splitlines()
    assert all(cell_len(row) <= WIDTH for row in shown)
    assert {row.split()[0] for row in shown if row[:1].strip()} == HEADS
    (real,) = (row for row in shown if row.startswith("PRIVACY:"))
    assert real.startswith("PRIVACY: epsilon 8 at delta")
    assert [row for row in shown if row.startswith("  Leaves")] == [
        "  Leaves   4,328 bytes of masked sums, shares of keys and our signed statements;"
    ]
    assert len("\n".join(shown)) < 15 * len(text) + 10_000, "a plan grows as what is in it does"


@pytest.mark.parametrize(
    "changed",
    [
        {"video": {"fps": 24}},
        {"video": {"frames": 12}},
        {"generation": {"guidance": Decimal("7.5")}},
        {"generation": {"steps": 3}},
        {"privacy": {"maximum_records": 99}},
        {"privacy": {"sampler": "integer"}},
        {"cohort": {"dropout": Decimal("0.1")}},
        {"deadlines": {"round": 11}},
    ],
)
def test_what_a_spec_asks_for_is_in_words_and_not_only_in_its_digest(changed: dict[str, dict[str, object]]) -> None:
    spec = small_spec()
    other = spec.model_copy(
        update={part: getattr(spec, part).model_copy(update=values) for part, values in changed.items()}
    )
    terms = seal_terms(spec, range(4))

    def words(of: Spec) -> str:
        text = make_plan(opening(of), terms.layout, ACCOUNTING, BUDGET, HOLDINGS, bytes(16)).text
        return text.replace(of.digest, "")

    assert words(other) != words(spec)


def test_the_extractor_of_a_metric_is_named() -> None:
    assert "Metric clip-score@1 on private inputs, weight 1, extractor clip-tiny" in plan().text


def test_models_that_run_elsewhere_are_said_to_be_sent_requests() -> None:
    terms = seal_terms(small_spec(), range(4))
    holdings = dataclasses.replace(HOLDINGS, endpoints={"tiny-wan-a": "https://api.vendor.example"})
    made = make_plan(opening(small_spec()), terms.layout, ACCOUNTING, BUDGET, holdings, bytes(16))
    assert "REQUESTS to https://api.vendor.example, which is not the coordinator: model tiny-wan-a" in flat(made.text)
    assert "requests to https://api.vendor.example; nothing of one private" in flat(made.short)
    assert "REQUESTS" not in plan().text


def test_the_hours_in_which_models_run_and_how_many_there_are() -> None:
    """Opened on a Sunday at 22:50 UTC; 60 s to join and 600 s to measure."""
    policy = POLICY.model_copy(update={"gpu_hours": ["daily 00:00-24:00"]})
    made = plan(budget=dataclasses.replace(BUDGET, policy=policy))
    assert (
        "Models run here daily 00:00-24:00 alone, as policy.toml says: 0.2 of the 0.2 hours until clips must be measured at "
        "the latest, 2026-11-22 23:01:00 UTC."
    ) in flat(made.text)
    assert (
        "Works time and disk were not estimated; only daily 00:00-24:00, of which 0.2 hours lie before the deadline"
        in flat(made.short)
    )
    assert "policy.toml says" not in plan().text


def test_what_is_spent_is_rounded_against_the_site() -> None:
    just_above = rho_within(Decimal("2.51"), POLICY.delta) + Decimal("0.00001")
    budget = dataclasses.replace(BUDGET, cost=just_above - BUDGET.spent)
    assert "with what was spent before 2.52 of 20 in all" in flat(plan(budget=budget).short)


def test_the_few_lines_before_the_question_are_the_plans_own_and_no_title_takes_their_place() -> None:
    made = plan(small_spec(title="IN SHORT:\nIN SHORT: nothing leaves"))
    first, *rest = made.short.splitlines()
    assert first == "IN SHORT:"
    assert [line.split()[0] for line in rest if not line.startswith("   ")] == [
        "Leaves",
        "Costs",
        "Works",
        "Ends",
        "With",
    ]
    assert made.short in made.text


def test_what_would_remain_can_be_negative() -> None:
    left = dataclasses.replace(BUDGET, spent=BUDGET.policy.rho_cap).left
    assert left == Decimal("-0.0344")


def test_shows_what_a_model_has_of_its_own_and_the_class_of_its_clips() -> None:
    spec = small_spec()
    first = spec.models[0].model_copy(update={"steps": 4, "guidance": Decimal("1.5")})
    generation = spec.generation.model_copy(update={"profile": "auto", "grade": "accelerated"})
    changed = spec.model_copy(update={"models": (first, *spec.models[1:]), "generation": generation})
    text = flat(plan(changed).text)
    assert f"Model tiny-wan-a (WanPipeline) {first.manifest}, steps 4, guidance 1.5 Model" in text
    assert "Profile auto: each machine takes the fastest profile of the class that fits it." in text


def test_says_what_models_start_from() -> None:
    spec = small_spec()
    starting = Model(id="i2v", pipeline="LTXConditionPipeline", manifest="sha256:" + "a" * 64, task="image-to-video")
    prompts = tuple(prompt.model_copy(update={"condition": "sha256:" + "c" * 64}) for prompt in spec.prompts)
    found = opening(spec.model_copy(update={"models": (spec.models[0], starting), "prompts": prompts}))
    terms = seal_terms(found.spec, range(4))
    holdings = dataclasses.replace(HOLDINGS, captioned=2)
    text = flat(make_plan(found, terms.layout, account(terms.calibration), BUDGET, holdings, bytes(16)).text)
    assert "and 2 prompts with a clip of its own, from which i2v would start" in text
    assert "Generate 5 private clips and our share of 4 public ones" in text
    assert "Model i2v (LTXConditionPipeline) sha256:" + "a" * 64 + ", task image-to-video" in text
    assert "red-circle: “a red circle moving left”, from sha256:" + "c" * 64 in text
    assert "would start" not in plan().text


def test_a_cluster_that_would_get_prompts_is_named() -> None:
    found = opening(small_spec())
    terms = seal_terms(found.spec, range(4))
    holdings = dataclasses.replace(HOLDINGS, cluster="10.1.2.3:6379")
    text = flat(make_plan(found, terms.layout, account(terms.calibration), BUDGET, holdings, bytes(16)).text)
    assert "made on the Ray cluster at 10.1.2.3:6379, which must be this institution's own" in text
    assert "our prompts, and what clips start from, go to its machines" in text
    assert "Ray" not in plan().text


def test_says_how_many_ratings_would_be_used_and_that_a_person_is_a_record() -> None:
    asked = (Metric(id="preference-bt@1", inputs="ratings"),)
    spec = small_spec()
    found = opening(spec.model_copy(update={"metrics": (*spec.metrics, *asked)}))
    terms = seal_terms(found.spec, range(4))
    votes = tuple(Vote("x", found.spec.digest, rater, "p", 0, "a", "b", "tie") for rater in ("r", "r", "s"))
    ratings = Ratings(votes, (), (("ratings.jsonl:9", "is about clips of the spec sha256:00"),))
    holdings = dataclasses.replace(HOLDINGS, ratings=ratings)
    text = flat(make_plan(found, terms.layout, account(terms.calibration), BUDGET, holdings, bytes(16)).text)
    assert "Ratings by 2 people of clips of this spec would be used: 3 votes and 0 scores." in text
    assert "Each person is one record, and all ratings of one weigh as much as those of another" in text
    assert (
        "and 1 rating cannot be used; the first is ratings.jsonl:9, which is about clips of the spec sha256:00" in text
    )
    assert "ratings/raters/preference-bt@1/wins" in text
    assert "Metric preference-bt@1 on ratings inputs, weight 1" in text
    assert "atings" not in plan().text


def test_the_words_of_an_operator_stand_for_those_of_a_programmer() -> None:
    text = flat(plan().text)
    assert "lane" not in text
    assert "debit" not in text
    assert "accountant" not in text


def test_moments_and_partners_come_before_the_prompts_which_are_many() -> None:
    text = plan().text
    order = [text.index(f"\n{head}") for head in ("WORK HERE", "DEADLINES", "WHO MAY TAKE PART", "PUBLIC PROMPTS (2):")]
    assert order == sorted(order)
    assert text.partition("PUBLIC PROMPTS (2):\n")[2].partition("\n\n")[0].splitlines() == [
        f"    {prompt.id}: “{prompt.text}”" for prompt in small_spec().prompts
    ]


@pytest.mark.parametrize(
    ("dropout", "minimum", "said"),
    [
        ("0", 3, "none of 3, none of 4"),
        ("0.2", 4, "none of 4"),
        ("0.25", 3, "none of 3, 1 of 4"),
        # A share of 0.4 would let 1 of 3 go, but 2 are too few beside one that colludes.
        ("0.4", 3, "none of 3, 1 of 4"),
    ],
)
def test_a_share_of_institutions_is_said_in_institutions_too(dropout: str, minimum: int, said: str) -> None:
    """As many as may go so that those who stay are still enough by the terms of the seal."""
    cohort = small_spec().cohort.model_copy(update={"dropout": Decimal(dropout), "minimum": minimum})
    text = flat(plan(small_spec().model_copy(update={"cohort": cohort})).text)
    assert f"at least {minimum} of these 4 must join; a share of {dropout} of those may then drop out: {said})" in text


@pytest.mark.parametrize("profile", ["exact", "balanced", "fast", "low-memory"])
def test_profile_and_class_are_explained(profile: Profile) -> None:
    spec = small_spec()
    generation = spec.generation.model_copy(update={"profile": profile})
    text = flat(plan(spec.model_copy(update={"generation": generation})).text)
    said = text.partition(f"Profile {profile}: ")[2].partition(" Model ")[0]
    assert ("float32" in said) == (profile == "exact")
    assert ("bfloat16" in said) == (profile != "exact")
    changes = "no shortcut changes" if profile == "exact" else "shortcuts may change"
    assert f"Class {class_of(profile)}, of all clips here and elsewhere: {changes} their pixels." in said
