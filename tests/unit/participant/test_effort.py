"""Hours and disk in the plan: what was timed, what was extrapolated, and nothing where nothing is known."""

from __future__ import annotations

import dataclasses
from collections import Counter
from decimal import Decimal

import pytest

from testkit.specs import small_spec
from vdb_participant.generation.timings import Timing
from vdb_participant.session.effort import Clips, Effort, ModelEffort, effort_of
from vdb_shared.clips import clip_terms
from vdb_shared.spec import Prompt, Spec
from vdb_shared.tasks import checked_work, public_tasks, shard

GIB = 2**30
TIMED = Timing(
    device="NVIDIA H200",
    place="cuda:0",
    timed=2,
    steps=50,
    step_seconds=3.5,
    other_seconds=5.0,
    whole=True,
    clip_bytes=GIB // 4,
    checkpoint_bytes=3 * 2**20,
    day="2026-11-22",
)
"""3 minutes a clip."""

WORK = ModelEffort("wan", Clips(expected=60, most=100), uncompressed=GIB // 2, timed=TIMED)


def text(*models: ModelEffort, devices: int = 1) -> str:
    return "\n".join(Effort(models, devices).lines())


def test_hours_are_clips_times_the_seconds_of_all_their_steps() -> None:
    said = text(WORK)
    assert "  wan: about 3 GPU-hours for 60 clips, 5 for 100 with the fewest institutions; 180 s a clip\n" in said
    assert "timed 2 of 50 steps, 3.5 s each, and 5 s before and after them; the other 48 steps are extrapolated" in said
    assert "on NVIDIA H200 (cuda:0), 2026-11-22" in said
    assert "  Time: about 3 GPU-hours; 5 with the fewest institutions\n" in said


def test_one_line_of_it_for_whoever_reads_no_further() -> None:
    assert (
        Effort((WORK,)).in_short()
        == "about 3 GPU-hours, more if fewer join, and measuring on top; at most 50 GiB of clips on disk"
    )
    unknown = dataclasses.replace(WORK, timed="it runs elsewhere")
    assert Effort((WORK, unknown)).in_short() == (
        "about 3 GPU-hours, 1 of 2 models not timed, more if fewer join, and measuring on top; at most 100 GiB of clips on disk"
    )
    assert Effort((unknown,)).in_short() == (
        "time not known, 1 of 1 models not timed, more if fewer join, and measuring on top; at most 50 GiB of clips on disk"
    )
    exactly = dataclasses.replace(WORK, clips=Clips(expected=60, most=60))
    assert Effort((exactly,)).in_short() == "about 3 GPU-hours, and measuring on top; at most 30 GiB of clips on disk"
    quick = dataclasses.replace(exactly, timed=TIMED.model_copy(update={"step_seconds": 0.004, "other_seconds": 0.04}))
    assert Effort((quick,)).in_short().startswith("about 14 GPU-seconds, and measuring on top; ")
    slower = dataclasses.replace(quick, timed=TIMED.model_copy(update={"step_seconds": 0.04, "place": "cpu"}))
    assert Effort((slower,)).in_short().startswith("about 7 minutes of a processor, and measuring on top; ")
    assert Effort(()).in_short() == "time and disk were not estimated"


def test_several_devices_share_the_hours_and_have_clips_under_way_each() -> None:
    said = text(WORK, devices=4)
    assert "  Time: about 3 GPU-hours, 0.75 by the clock on 4; 5 with the fewest institutions\n" in said
    assert "12 MiB meanwhile for clips that are under way" in said


def test_disk_is_what_the_timed_clip_took_and_never_more_than_uncompressed() -> None:
    assert "  Disk: about 15 GiB as the timed clips were kept, at most 50 GiB uncompressed; 3 MiB meanwhile" in text(
        WORK
    )


def test_a_clip_that_was_timed_whole_is_not_called_extrapolated() -> None:
    said = text(dataclasses.replace(WORK, timed=TIMED.model_copy(update={"timed": 4, "steps": 4})))
    assert "timed a whole clip of 4 steps" in said
    assert "extrapolated" not in said


def test_a_run_that_was_stopped_says_what_it_did_not_see() -> None:
    stopped = TIMED.model_copy(update={"timed": 1, "whole": False, "other_seconds": 0.0, "clip_bytes": 0})
    said = text(dataclasses.replace(WORK, timed=stopped))
    assert "timed 1 of 50 steps, 3.5 s each with all that comes before them, and stopped" in said
    assert "what comes after the last step is not known" in said
    assert "  Disk: at most 50 GiB uncompressed" in said, "no clip was kept, so its size is not known"


def test_a_model_that_was_not_timed_has_a_reason_and_no_hours() -> None:
    said = text(dataclasses.replace(WORK, timed="it runs\x1b elsewhere"), WORK)
    assert "  wan: 60 clips, 100 with the fewest institutions; not timed: it runs elsewhere\n" in said
    assert (
        "about 3 GPU-hours, and what 1 of 2 models take on top, which were not timed; 5 with the fewest institutions"
        in said
    )
    assert "Disk: at most 100 GiB uncompressed" in said
    nothing = text(dataclasses.replace(WORK, timed="left out (--no-timing)"))
    assert "Time: not known, since nothing was timed" in nothing
    assert "hours for" not in nothing
    assert "GPU-hours" not in nothing


def test_hours_on_a_processor_are_not_called_hours_of_a_gpu() -> None:
    processor = TIMED.model_copy(
        update={"device": "CPU x86_64", "place": "cpu", "step_seconds": 0.01, "other_seconds": 0.1}
    )
    said = text(dataclasses.replace(WORK, timed=processor))
    assert "about 36 seconds of a processor for 60 clips, 60 for 100 with the fewest institutions; 0.6 s a clip" in said
    assert "GPU" not in said
    assert "e-0" not in said


def spec_of(prompts: int, samples: int, share: str, *, minimum: int = 4) -> Spec:
    spec = small_spec()
    return spec.model_copy(
        update={
            "prompts": tuple(Prompt(id=f"p{number}", text=f"number {number}") for number in range(prompts)),
            "generation": spec.generation.model_copy(update={"samples": samples, "checked_share": Decimal(share)}),
            "cohort": spec.cohort.model_copy(update={"minimum": minimum}),
        }
    )


@pytest.mark.parametrize(("prompts", "samples", "share"), [(1, 1, "0"), (7, 1, "0.3"), (10, 3, "1"), (23, 2, "0.02")])
@pytest.mark.parametrize("joining", [4, 5, 9])
def test_no_site_makes_more_clips_of_a_model_than_the_plan_says(
    prompts: int, samples: int, share: str, joining: int
) -> None:
    """Counted from the tasks that sites really get, wherever they sit and however many join."""
    spec = spec_of(prompts, samples, share)
    private = {model.id: 6 for model in spec.models}
    terms = {model.id: clip_terms(spec, model) for model in spec.models}
    effort = effort_of(spec, 9, private, terms, dict.fromkeys(private, ""), 1)
    said = {item.model: item.clips for item in effort.models}
    made: Counter[str] = Counter()
    for position in range(joining):
        mine = [task.model for task in shard(public_tasks(spec), position, joining)]
        mine += [item.task.model for item in checked_work(spec, position, joining) if not item.counted]
        for model, count in Counter(mine).items():
            assert count + 6 <= said[model].most
        made.update(mine)
    if joining == 9:
        for model, count in made.items():
            assert count <= 9 * (said[model].expected - 6) < count + 2 * 9, "a site's share, rounded up"


def test_without_public_inputs_no_public_clip_is_counted() -> None:
    spec = spec_of(10, 1, "0.5")
    spec = spec.model_copy(update={"metrics": tuple(item for item in spec.metrics if item.inputs == "private")})
    terms = {model.id: clip_terms(spec, model) for model in spec.models}
    effort = effort_of(spec, 9, dict.fromkeys(terms, 3), terms, dict.fromkeys(terms, ""), 1)
    assert {item.clips for item in effort.models} == {Clips(3, 3)}
    assert {item.uncompressed for item in effort.models} == {9 * 32 * 32 * 3}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.25, "about 15 seconds of a processor for 60 clips, 25 for 100"),
        (2.0, "about 2 minutes of a processor for 60 clips, 3.3 for 100"),
        (60.0, "about 1 hour of a processor for 60 clips, 1.7 for 100"),
    ],
)
def test_time_is_in_the_unit_that_people_would_take_and_both_numbers_in_the_same(seconds: float, said: str) -> None:
    timed = TIMED.model_copy(update={"place": "cpu", "step_seconds": seconds / 50, "other_seconds": 0.0})
    shown = text(dataclasses.replace(WORK, timed=timed), devices=2)
    assert said in shown
    of_two = {0.25: "7.5", 2.0: "1", 60.0: "0.5"}[seconds]
    assert "1 hours" not in shown
    assert "1 minutes" not in shown
    assert f"  Time: {said.partition(' for 60')[0]}, {of_two} by the clock on 2; " in shown
