"""Leaderboards of golden and of made-up figures, one by one and several, and what is printed of them; see `shown.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

from testkit.golden import golden_file
from testkit.metric_specs import CLIP_SCORE, KERNEL, LATENCY, edited, make_spec
from testkit.published import golden_published, golden_told, with_metrics
from testkit.shown_reports import broken, few, objected_to, undecided
from testkit.shown_ways import NARROW, coloured, plain, pretty, unstyled
from vdb_shared.audit.boards import Boards, boards_of
from vdb_shared.audit.compare import Comparison, compare
from vdb_shared.audit.html import leaderboard_page, local_page
from vdb_shared.audit.leaderboard import ClipClass, Leaderboard, leaderboard_of, tables_of
from vdb_shared.audit.several import print_boards, print_comparison
from vdb_shared.audit.several_pages import boards_page, comparison_page
from vdb_shared.audit.tables import boards_csv, boards_latex
from vdb_shared.audit.text import print_leaderboard
from vdb_shared.audit.verified import VerifiedBundle
from vdb_shared.spec import Spec

PREFERENCE: Final = {"id": "preference-bt@1", "inputs": "ratings"}


def board(name: str) -> Leaderboard:
    """Return the leaderboard of a golden bundle."""
    return leaderboard_of(golden_file(name).read_bytes(), golden_told(name))


def figure(metric: str, inputs: str, model: str, **fields: Any) -> dict[str, Any]:
    """Return one made-up entry of metrics.json."""
    usual: dict[str, Any] = {
        "metric": metric,
        "inputs": inputs,
        "model": model,
        "value": "0.5",
        "low": "0.4",
        "high": "0.6",
        "count": "40",
        "grade": "exact",
        "histogram": None,
        "private": False,
        "ranks": [1, 1],
        "reason": None,
        "direction": "higher",
        "unit": "",
    }
    return usual | fields


def nothing(metric: str, inputs: str, model: str, reason: str | None, **fields: Any) -> dict[str, Any]:
    """Return an entry whose figure is not told."""
    told: dict[str, Any] = {"value": None, "low": None, "high": None, "ranks": None, "grade": "unavailable"}
    return figure(metric, inputs, model, **told, reason=reason, private=True) | fields


SHORT: Final = "too few clips, 3 < 5"


def made_up(spec: Spec) -> dict[str, Any]:
    """Return metrics.json with every kind of entry: public, noised, coarse, withheld, rated, without unit and with."""
    score, rated, latency, kernel = "clip-score@1", "preference-bt@1", "latency@1", "mmd-rff@1"
    results = [
        figure(score, "public", "beta", value="21.5", low="20", high="23", count="1234.6", ranks=[2, 2]),
        figure(score, "public", "alpha", value="27.25", low="26", high="28.5", histogram=[0, 3, 1, 0], ranks=[1, 1]),
        figure(score, "public", "gamma", value="21.5", low="20.5", high="23.5", count="1", ranks=[2, 3]),
        nothing(score, "private", "gamma", SHORT),
        figure(score, "private", "beta", value="22", low="19", high="25", grade="noised", private=True, ranks=[1, 1]),
        nothing(score, "private", "alpha", "too coarse & so", grade="coarse", ranks=[2, 3], low="1", high="2"),
        figure(latency, "public", "beta", value="14", low="11.5", high="12.5", histogram=[1, 2]),
        figure(latency, "public", "alpha", value="9.75", low="9", high="10", ranks=[1, 1], reason="a coarse clock"),
        nothing(latency, "public", "gamma", "a coarse clock", private=False),
        nothing(kernel, "public", "beta", SHORT, low="1", ranks=[1, 2]),
        nothing(kernel, "public", "alpha", SHORT, high="2", ranks=[1, 3]),
        nothing(kernel, "public", "gamma", None),
        figure(rated, "ratings", "beta", value="-0.3", low="-0.8", high="0.2", grade="noised", private=True, count="9"),
        figure(rated, "ratings", "alpha", value="0.3", low="-0.2", high="0.8", private=True, ranks=[1, 2], count="12"),
        nothing(rated, "ratings", "gamma", "few people", ranks=[1, 3], grade="coarse"),
    ]
    return {
        "class": spec.generation.clip_class,
        "profile": spec.generation.profile,
        "confidence": "0.9",
        "counts": [{"side": "reference", "model": "clips", "succeeded": "60", "failed": "0", "noise": "3.5"}],
        "not_apart": [
            {"metric": score, "inputs": "public", "pairs": [["alpha", "beta"], ["beta", "gamma"]]},
            {"metric": latency, "inputs": "public", "pairs": []},
        ],
        "results": results,
        "checked": {"sites": [], "pairs": [], "tolerance": {}},
    }


@cache
def made_up_spec(**generation: str) -> Spec:
    """Return the spec of made-up figures."""
    metrics = [CLIP_SCORE, CLIP_SCORE | {"inputs": "private"}, LATENCY, KERNEL, PREFERENCE]
    return make_spec(metrics, models=("alpha", "beta", "gamma"), generation={"private_share": "1", **generation})


def made_up_bundle(name: str = "made <up>", **generation: str) -> VerifiedBundle:
    """Return a result with made-up figures, of a consortium and a title with characters that pages and tables must escape."""
    spec = made_up_spec(**generation)
    like = golden_published("dropout")
    facts = replace(
        like.facts, title="50 % of <b>&_$#", consortium="=cmd|x", session="sha256:" + name[:1].encode().hex() * 32
    )
    report = replace(like.report, facts=facts, bundle="sha256:" + name[-1:].encode().hex() * 32)
    return replace(like, name=f"there/{name}.vdbb", spec=spec, metrics=made_up(spec), facts=facts, report=report)


def board_of(bundle: VerifiedBundle) -> Leaderboard:
    """Return the leaderboard of made-up figures, of a result whose trust root nobody gave."""
    return replace(
        board("dropout"),
        facts=bundle.facts,
        report=few(replace(bundle.report, pinned=False)),
        clips=ClipClass.of(bundle.metrics),
        tables=tables_of(bundle.metrics, noised=True),
        confidence=bundle.metrics["confidence"],
        checked=(),
    )


def checked_apart(found: Leaderboard) -> Leaderboard:
    """Return a leaderboard of which some clips that were made twice differ."""
    sites = found.checked
    apart = replace(sites[0], clips=7, compared=6, equal=3, different=2, apart=1, largest_distance="0.25")
    return replace(found, checked=(apart, replace(sites[1], clips=0, largest_distance=None)))


def leaderboards() -> dict[str, str]:
    """Return leaderboards of one result as text and as pages."""
    given = {
        "dropout": replace(board("dropout"), report=few(board("dropout").report)),
        "withdrawn": replace(board("disputed"), report=few(board("disputed").report)),
        "made-up": board_of(made_up_bundle()),
        "apart": replace(
            checked_apart(board("dropout")),
            report=broken(few(board("dropout").report)),
            clips=ClipClass("accelerated", "auto"),
            tables=(),
        ),
        "successor": replace(board("successor"), report=undecided(few(board("successor").report)), tables=()),
    }
    shown = {f"board-{name}.txt": plain(lambda to, of=of: print_leaderboard(to, of)) for name, of in given.items()}  # type: ignore[misc]  # as above
    shown |= {f"board-{name}.html": unstyled(leaderboard_page(found)) for name, found in given.items()}
    shown["board-narrow.txt"] = plain(lambda to: print_leaderboard(to, given["made-up"]), width=NARROW)
    shown["board-withdrawn-narrow.txt"] = plain(lambda to: print_leaderboard(to, given["withdrawn"]), width=NARROW)
    shown["board-withdrawn.terminal"] = coloured(lambda to: print_leaderboard(to, given["withdrawn"]), width=120)
    pictures = '<section class="card">pictures</section>'
    shown["board-pictures.html"] = unstyled(leaderboard_page(given["successor"], pictures))
    shown["local.html"] = unstyled(local_page("A <site>", golden_published("full").metrics))
    shown["local-pictures.html"] = unstyled(local_page("A site", made_up(made_up_spec()), pictures))
    return shown


# Several results.


def marked(bundle: VerifiedBundle, number: int) -> VerifiedBundle:
    """Return a result to which so many members object."""
    return replace(bundle, report=objected_to(few(bundle.report), number))


def boards() -> Boards:
    """Return tables over golden and made-up results: some on one scale, some not; one disputed, one without a pinned root."""
    other = made_up_bundle("other", guidance="3")
    unpinned = replace(other, report=replace(other.report, pinned=False))
    fast = made_up_bundle("fast", profile="fast")
    return boards_of(
        [
            golden_published("full"),
            made_up_bundle(),
            marked(unpinned, 1),
            fast,
            golden_published("disputed"),
            golden_published("dropout"),
        ]
    )


def changed(bundle: VerifiedBundle, **values: tuple[str, str, str]) -> VerifiedBundle:
    """Return a result with other public figures of models: value, low and high."""
    metrics = json.loads(json.dumps(bundle.metrics))
    for item in metrics["results"]:
        if item["inputs"] == "public" and item["model"] in values:
            item["value"], item["low"], item["high"] = values[item["model"]]
    return replace(bundle, metrics=metrics)


def unlike(values: dict[str, Any]) -> None:
    """Change a spec in everything that decides which figures are on one scale and of one model."""
    alpha, beta, gamma = values["models"]
    alpha["manifest"], gamma["id"], beta["task"] = "sha256:" + "b" * 64, "delta", "text-to-video"
    clip = values["extractors"][0]
    clip["manifest"], clip["precision"] = "sha256:" + "c" * 64, "float16"
    values["metrics"] = [item for item in values["metrics"] if item["id"] != "latency@1"]
    values["prompts"].reverse()


def comparisons() -> Mapping[str, Comparison]:
    """Return comparisons of golden and of made-up results."""
    first, second = made_up_bundle(), made_up_bundle("other", guidance="3")
    strangers = {f"site-{place}": f"key-{place}" for place in range(4)}
    sites = tuple(strangers)
    facts = replace(second.facts, survivors=sites, joined=sites, dropped={}, root="sha256:" + "9" * 64)
    second = replace(second, facts=facts, report=replace(second.report, facts=facts, pinned=False), keys=strangers)
    slower = edited(second.spec, lambda values: values["models"][1].update(steps=7))
    second = replace(second, spec=slower)
    stricter = {**first.accounting, "delta": "0.0000001"}
    third = replace(made_up_bundle("third"), spec=edited(made_up_spec(), unlike), accounting=stricter)
    full = golden_published("full")
    ahead = changed(golden_published("dropout"), **{"tiny-b": ("0.99", "0.98", "0.995")})
    bare = replace(full, accounting={**full.accounting, "rho": None, "epsilon_pld": None}, name="bare.vdbb")
    bare = replace(bare, report=replace(bare.report, bundle="sha256:" + "1" * 64))
    return {
        "golden": compare(full, ahead),
        "turned": compare(ahead, full),
        "itself": compare(full, full),
        "made-up": compare(first, changed(second, alpha=("80", "79", "81"), beta=("1", "0.9", "1.1"))),
        "unlike": compare(first, third),
        "unlike-turned": compare(third, first),
        "other": compare(replace(full, name="a.vdbb"), made_up_bundle()),
        "one": compare(
            full, with_metrics(full, lambda metrics: metrics["results"][1].update(value="0.99", low="0.98"))
        ),
        "session": compare(full, bare),
        "session-turned": compare(bare, full),
    }


def several() -> dict[str, str]:
    """Return comparisons and tables over several results, in all their forms."""
    found = boards()
    shown = {
        "boards.txt": plain(lambda to: print_boards(to, found)),
        "boards-narrow.txt": plain(lambda to: print_boards(to, found), width=NARROW),
        "boards.terminal": coloured(lambda to: print_boards(to, found)),
        "boards.html": unstyled(boards_page(found)),
        "boards.csv": boards_csv(found).replace("\r\n", "␍\n"),
        "boards.tex": boards_latex(found),
        "boards.json": pretty(found.to_json()),
    }
    compared_pairs = comparisons()
    for name, compared in compared_pairs.items():
        shown[f"comparison-{name}.txt"] = plain(lambda to, of=compared: print_comparison(to, of))  # type: ignore[misc]  # as above
        if name.endswith("turned"):
            continue
        shown[f"comparison-{name}.html"] = unstyled(comparison_page(compared))
        shown[f"comparison-{name}.json"] = pretty(compared.to_json())
    for name in ("made-up", "itself"):
        shown[f"comparison-{name}-narrow.txt"] = plain(
            lambda to, of=compared_pairs[name]: print_comparison(to, of),  # type: ignore[misc]  # as above
            width=NARROW,
        )
    shown["comparison-made-up.terminal"] = coloured(
        lambda to: print_comparison(to, compared_pairs["made-up"]), width=120
    )
    return shown
