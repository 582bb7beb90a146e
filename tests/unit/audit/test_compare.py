"""Two results side by side: stories of an auditor who asks in what they differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from testkit.bundles import SmallSession, small_session
from testkit.metric_specs import CLIP_SCORE, DIGEST, FRECHET, KERNEL, LATENCY, make_spec
from testkit.small_specs import small_spec
from testkit.twins import ONE, OTHER, as_published, score_spec, scored_session
from vdb_shared.audit.compare import Comparison, common_institutions, compare
from vdb_shared.audit.measure import WORDS, Measure, measure_of, other_model, unlike
from vdb_shared.audit.policy import Policy
from vdb_shared.audit.sides import composed
from vdb_shared.audit.spec_differences import LISTS, SCALARS, circumstances, spec_differences
from vdb_shared.audit.verified import VerifiedBundle, open_verified
from vdb_shared.errors import VerificationError
from vdb_shared.privacy.conversion import epsilon_of_rho
from vdb_shared.spec import Extractor, Metric, Model, Prompt, Spec

QUICK = '[{ id = "temporal-flickering@1", inputs = "private" }, { id = "temporal-flickering@1", inputs = "public" }]'


@pytest.fixture(scope="module")
def spring() -> VerifiedBundle:
    return opened("spring.vdbb", small_session(0, small_spec(metrics=QUICK)))


@pytest.fixture(scope="module")
def autumn() -> VerifiedBundle:
    """The same institutions half a year later: a smaller promise, one prompt more, one model replaced."""
    models = small_spec().models
    rows = [f'{{ id = "{item.id}", pipeline = "WanPipeline", manifest = "{item.manifest}" }}' for item in models[:2]]
    rows.append(f'{{ id = "tiny-wan-d", pipeline = "WanPipeline", manifest = "{DIGEST}" }}')
    prompts = ["circle", "square", "stripes", "dots", "rain"]
    words = {"circle": "a red circle moving left", "square": "a blue square bouncing"}
    listed = ", ".join(f'{{ id = "{name}", text = "{words.get(name, name)}" }}' for name in prompts)
    spec = small_spec(
        metrics=QUICK,
        models=f"[{', '.join(rows)}]",
        prompts=f"[{listed}]",
        privacy="{ epsilon = 4, delta = 1e-6, maximum_records = 2000 }",
        title='"Autumn"',
    )
    return opened("autumn.vdbb", small_session(0, spec))


def opened(name: str, session: SmallSession) -> VerifiedBundle:
    return open_verified(name, session.bundle(), root=session.root, policy=Policy())


def test_a_bundle_and_itself_do_not_differ(spring: VerifiedBundle) -> None:
    found = compare(spring, spring)
    assert "Both are one and the same bundle." in found.remarks
    assert not found.spec
    assert not any(row.differs for row in (*found.cohort, *found.privacy))
    assert not found.apart
    assert {item.lead.difference for item in found.compared} == {0.0}
    assert not any(item.circumstances for item in found.compared)
    assert not found.not_compared


def test_what_was_agreed_is_compared_field_by_field_in_plain_words(
    spring: VerifiedBundle, autumn: VerifiedBundle
) -> None:
    found = {item.what: (item.first, item.second) for item in compare(spring, autumn).spec}
    assert found == {
        "Title": (("Tiny models on made-up clips",), ("Autumn",)),
        "Promised ε": (("8",), ("4",)),
        "Prompts only there": ((), ("rain",)),
        "Prompt stripes: words": (("green stripes scrolling",), ("stripes",)),
        "Prompt dots: words": (("dots drifting apart",), ("dots",)),
        "Models only there": (("tiny-wan-c",), ("tiny-wan-d",)),
    }


def test_who_took_part_and_what_it_costs_them_together(spring: VerifiedBundle, autumn: VerifiedBundle) -> None:
    found = compare(spring, autumn)
    cohort = {row.what: row for row in found.cohort}
    assert cohort["In the sum"].first == "4: archive-oslo, clinic-lyon, lab-kyoto, museum-lima"
    assert cohort["Dropped out"].second == "film-studio, after sharing keys"
    assert (
        cohort["Clips of public prompts, all models"].first,
        cohort["Clips of public prompts, all models"].second,
    ) == (
        "96",
        "120",
    )
    assert "noised" in cohort["Clips of private prompts, all models"].first
    assert found.common == ("archive-oslo", "clinic-lyon", "lab-kyoto", "museum-lima")
    assert not found.independent
    assert spring.rho is not None
    assert autumn.rho is not None
    both = found.privacy[-1]
    assert "archive-oslo, clinic-lyon, lab-kyoto, museum-lima in both" in both.what
    assert f"ε {epsilon_of_rho(spring.rho + autumn.rho, autumn.spec.privacy.delta)} at δ 0.000001" in both.first
    assert float(both.first.split("ε ")[1].split()[0]) > 8


def test_costs_compose_at_the_smaller_delta_and_not_at_all_without_noise(
    spring: VerifiedBundle, autumn: VerifiedBundle
) -> None:
    stricter = replace(autumn, accounting={**autumn.accounting, "delta": "0.0000001"})
    for pair in ((spring, stricter), (stricter, spring)):
        (row,) = composed(*pair, ["lab-kyoto"])
        assert row.first.endswith("at δ 1e-7") or row.first.endswith("at δ 0.0000001")
    bare = replace(autumn, accounting={**autumn.accounting, "rho": None})
    (row,) = composed(spring, bare, ["lab-kyoto"])
    assert row.first.startswith("not protected")
    assert not composed(spring, autumn, [])
    assert not composed(spring, spring, ["lab-kyoto"])


def test_figures_of_models_that_only_one_has_are_listed_and_circumstances_named(
    spring: VerifiedBundle, autumn: VerifiedBundle
) -> None:
    found = compare(spring, autumn)
    assert {item.model for item in found.compared} == {"tiny-wan-a", "tiny-wan-b"}
    assert {(item.model, item.reason) for item in found.not_compared} == {
        ("tiny-wan-c", "the second result has no such model"),
        ("tiny-wan-d", "the first result has no such model"),
    }
    public, private = (next(item for item in found.compared if item.inputs == kind) for kind in ("public", "private"))
    assert public.circumstances == ("other public prompts",)
    assert private.circumstances == ()
    assert found.planned == 4


def test_a_bundle_that_fails_is_refused_with_its_name_and_check() -> None:
    session = small_session(0, small_spec(metrics=QUICK))
    with pytest.raises(VerificationError, match=r"^V41: forged\.vdbb: ") as caught:
        open_verified("forged.vdbb", session.forged({"metrics.json": b"{}"}), root=session.root, policy=Policy())
    assert caught.value.check == "V41"
    with pytest.raises(VerificationError, match=r"^V10: other\.vdbb: "):
        open_verified("other.vdbb", session.bundle(), root=DIGEST, policy=Policy())


def published(spec: Spec, name: str, institutions: tuple[str, ...] = ONE) -> VerifiedBundle:
    figures = scored_session(spec, {"public": 40, "private": 200}, np.random.default_rng(1))
    return as_published(name, spec, figures, institutions)


def scores(**changes: Any) -> Spec:
    metrics = changes.pop("metrics", [CLIP_SCORE, LATENCY])
    return make_spec(metrics, models=changes.pop("models", ("alpha",)), **changes)


CLIP = {"id": "tiny-clip", "architecture": "CLIPModel", "manifest": DIGEST, "dimension": 8}


@pytest.mark.parametrize(
    ("changes", "metric", "reason"),
    [
        ({"extractors": [CLIP | {"manifest": "sha256:" + "b" * 64}]}, "clip-score@1", "digest of its folder differs"),
        ({"extractors": [CLIP | {"precision": "float16"}]}, "clip-score@1", "another precision of the extractor"),
        ({"extractors": [CLIP | {"dimension": 16}]}, "clip-score@1", "another number of features"),
        ({"metrics": [CLIP_SCORE, LATENCY | {"limit": "60"}]}, "latency@1", "another limit: 30, and 60"),
        ({"generation": {"profile": "fast"}}, "latency@1", "another class of clips: exact, and accelerated"),
        ({"metrics": [CLIP_SCORE]}, "latency@1", "the second result has no such figures"),
    ],
)
def test_figures_on_different_scales_are_listed_with_the_reason_and_not_compared(
    changes: dict[str, Any], metric: str, reason: str
) -> None:
    found = compare(
        published(scores(extractors=[CLIP]), "a"), published(scores(**{"extractors": [CLIP]} | changes), "b")
    )
    assert any(item.metric.startswith(metric) and reason in item.reason for item in found.not_compared)
    assert metric not in {item.definition.id for item in found.compared}
    assert found.planned == len(found.compared)


def test_another_model_under_the_same_name_is_another_model() -> None:
    first, second = (Model(id="a", pipeline="WanPipeline", manifest="sha256:" + digit * 64) for digit in "12")
    assert "another model under the same name: its weights are sha256:111" in other_model(first, second)
    assert not other_model(first, first)
    runs = Model(id="a", pipeline="LTXPipeline", manifest=first.manifest)
    assert "it runs as WanPipeline, and as LTXPipeline" in other_model(first, runs)
    spec = scores()
    swapped = spec.model_copy(update={"models": (spec.models[0].model_copy(update={"manifest": second.manifest}),)})
    found = compare(published(spec, "a"), published(swapped, "b"))
    assert not found.compared
    assert {item.model for item in found.not_compared} == {"alpha"}


def test_another_version_of_a_metric_is_named() -> None:
    """The catalogue has one version of each metric; the other is that of a later reader's bundle."""
    first, second = published(scores(), "a"), published(scores(), "b")
    later = {("clip-score@2", "public"): second.asked["clip-score@1", "public"]}
    object.__setattr__(
        second, "asked", {key: item for key, item in second.asked.items() if key[0] != "clip-score@1"} | later
    )
    reasons = [item.reason for item in compare(first, second).not_compared]
    assert "the second result has no such figures, but of clip-score@2, which is another definition" in reasons


def test_a_preference_depends_on_the_models_it_is_between_and_a_correlation_is_not_compared() -> None:
    rated = [
        {"id": "preference-bt@1", "inputs": "ratings"},
        {"id": "human-correlation@1", "inputs": "ratings", "of": "clip-score@1", "extractor": "tiny-clip"},
    ]
    two, three = (make_spec(rated, models=models) for models in (("alpha", "beta"), ("alpha", "beta", "gamma")))
    preference, correlation = two.metrics
    (reason,) = unlike(measure_of(two, preference), measure_of(three, three.metrics[0]))
    assert reason.startswith("other models to choose between: alpha")
    assert not unlike(measure_of(two, correlation), measure_of(three, three.metrics[1]))


def test_every_field_of_a_measure_has_words_and_each_makes_figures_incomparable() -> None:
    assert WORDS.keys() == set(Measure.__slots__)
    spec = make_spec([KERNEL])
    measure = measure_of(spec, spec.metrics[0])
    for field in WORDS:
        value: Any = (("x", DIGEST),) if field == "rivals" else 7 if field == "dimension" else "x"
        changed = Measure(**{name: getattr(measure, name) for name in WORDS} | {field: value})
        assert len(unlike(measure, changed)) == 1
        assert WORDS[field] in unlike(measure, changed)[0]


def test_every_field_of_a_spec_has_words() -> None:
    """A new field of the schema must get words here, or a comparison would keep quiet about it."""

    def scalars(model: type[BaseModel], prefix: str = "") -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= scalars(kind, f"{prefix}{name}.")
            elif f"{prefix}{name}" not in LISTS:
                found.add(prefix + name)
        return found

    assert scalars(Spec) == SCALARS.keys()
    keys = {"prompts": {"id"}, "models": {"id"}, "extractors": {"id"}, "metrics": {"id", "inputs"}}
    kinds: dict[str, type[BaseModel]] = {"prompts": Prompt, "models": Model, "extractors": Extractor, "metrics": Metric}
    for name, kind in kinds.items():
        assert set(kind.model_fields) - keys[name] == LISTS[name][1].keys()


def test_every_single_change_of_a_spec_is_seen() -> None:
    spec = make_spec([CLIP_SCORE, FRECHET])
    for path in SCALARS:
        section, _, name = path.rpartition(".")
        if section:
            inner = getattr(spec, section).model_copy(update={name: "other"})
            changed = spec.model_copy(update={section: inner})
        else:
            changed = spec.model_copy(update={name: "other"})
        assert [item.what for item in spec_differences(spec, changed)] == [SCALARS[path]]
    for name, (noun, words) in LISTS.items():
        for field, heading in words.items():
            items = getattr(spec, name)
            changed = spec.model_copy(update={name: (items[0].model_copy(update={field: "other"}), *items[1:])})
            (found,) = spec_differences(spec, changed)
            assert found.what.startswith(noun)
            assert found.what.endswith(f": {heading}")
    turned = spec.model_copy(update={"models": spec.models[::-1]})
    assert [item.what for item in spec_differences(spec, turned)] == ["Order of models"]


def test_circumstances_are_those_that_bear_on_the_figure() -> None:
    private = CLIP_SCORE | {"inputs": "private"}
    spec = make_spec([CLIP_SCORE, private, LATENCY, FRECHET], generation={"private_share": "1"})
    other = make_spec(
        [CLIP_SCORE, private, LATENCY, FRECHET],
        generation={"private_share": "0.5", "guidance": "7", "samples": 3},
        video={"height": 64},
    )
    found = [circumstances(spec, other, metric, "alpha", same_sites=False) for metric in spec.metrics]
    always = {"other guidance scale", "other height", "other number of clips of each prompt"}
    assert set(found[0]) == always
    assert set(found[1]) == always | {"private records of other institutions", "other share of the private prompts"}
    assert set(found[2]) == always | {"machines of other institutions"}
    assert set(found[3]) == always | {"private records of other institutions", "other size of the reference clips"}
    own = spec.model_copy(update={"models": (spec.models[0].model_copy(update={"steps": 9}), *spec.models[1:])})
    assert circumstances(spec, own, spec.metrics[0], "alpha", same_sites=True) == ("other inference steps",)
    assert circumstances(spec, own, spec.metrics[0], "beta", same_sites=True) == ()


def sessions(first: tuple[str, ...], second: tuple[str, ...], *specs: Spec) -> Comparison:
    one, two = specs or (score_spec(0), score_spec(1))
    return compare(published(one, "a", first), published(two, "b", second))


def test_errors_are_independent_only_without_common_institutions_keys_and_clips() -> None:
    assert sessions(ONE, OTHER).independent
    assert sessions(ONE, (*OTHER[:3], ONE[0])).common == (ONE[0],)
    assert not sessions(ONE, (*OTHER[:3], ONE[0])).independent
    assert not sessions(ONE, OTHER, score_spec(0), score_spec(0)).independent  # one spec: the same public clips
    first, second = published(score_spec(0), "a"), published(score_spec(1), "b", OTHER)
    renamed = {**second.keys, OTHER[0]: first.keys[ONE[1]]}
    object.__setattr__(second, "keys", renamed)
    assert common_institutions(first, second) == (ONE[1],)


def test_what_is_withheld_or_has_few_clips_is_listed() -> None:
    spec = scores(metrics=[CLIP_SCORE, CLIP_SCORE | {"inputs": "private"}], generation={"private_share": "1"})
    generator = np.random.default_rng(2)
    many, few = (
        as_published(name, spec, scored_session(spec, clips, generator), ONE)
        for name, clips in (("a", {"public": 40, "private": 500}), ("b", {"public": 4, "private": 3}))
    )
    reasons = {item.metric: item.reason for item in compare(many, few).not_compared}
    assert reasons["clip-score@1 on public inputs"].startswith("the second result has 4 clips or people")
    assert reasons["clip-score@1 on private inputs"].startswith("the second result withholds it: ")
    assert compare(many, few).planned == 2


def only(bundle: VerifiedBundle, value: str, low: str, high: str, *, asked: int) -> VerifiedBundle:
    """Return a result of so many models and one metric that publishes a single figure and withholds all others."""
    models = tuple(Model(id=f"m{place}", pipeline="WanPipeline", manifest=DIGEST) for place in range(asked))
    spec = bundle.spec.model_copy(update={"models": models, "metrics": bundle.spec.metrics[:1]})
    results = [
        {
            **bundle.metrics["results"][0],
            "model": model.id,
            "value": value if place == 0 else None,
            "low": low,
            "high": high,
            "reason": "too few",
        }
        for place, model in enumerate(models)
    ]
    return replace(bundle, spec=spec, metrics={**bundle.metrics, "results": results})


def test_what_is_withheld_makes_no_difference_count_sooner() -> None:
    """One published pair among many that were asked for is decided as if all had been published."""
    first, second = published(score_spec(0), "a"), published(score_spec(1), "b", OTHER)
    for asked, counts in ((1, True), (12, False)):
        found = compare(
            only(first, "0.5", "0.45", "0.55", asked=asked), only(second, "0.59", "0.54", "0.64", asked=asked)
        )
        assert (found.planned, len(found.compared)) == (asked, 1)
        assert bool(found.apart) is counts
