"""What the registry says about each class, held against the installed library."""

from __future__ import annotations

import inspect

import diffusers
import pytest

from vdb_shared.registry.classes import Arguments, pipeline_classes
from vdb_shared.registry.rows import load_registry

CLASSES = pipeline_classes()
USUAL = Arguments()


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_call_has_the_arguments_and_no_others_of_these(name: str) -> None:
    known = CLASSES[name]
    call = inspect.signature(getattr(diffusers, name).__call__).parameters
    assert set(known.arguments.names) | set(known.fixed) <= set(call)
    for field in Arguments.model_fields:
        usual, here = getattr(USUAL, field), getattr(known.arguments, field)
        assert here or usual not in call, f"{name} takes {usual}"
    assert known.arguments.fps or not {"fps", "frame_rate"} & set(call)
    assert {"generator", "output_type"} <= set(call)
    limit = call.get("max_sequence_length")
    assert known.tokens == (0 if limit is None else limit.default)
    assert known.callback == ("callback_on_step_end" in call)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_conditions_follow_from_the_tasks(name: str) -> None:
    known = CLASSES[name]
    call = inspect.signature(getattr(diffusers, name).__call__).parameters
    assert ("image-to-video" in known.tasks) == bool(known.arguments.image)
    assert ("video-to-video" in known.tasks) == bool(known.arguments.video)
    for condition in filter(None, (known.arguments.image, known.arguments.video)):
        needed = call[condition].default is inspect.Parameter.empty
        assert not needed or known.needs_condition


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_components_and_scheduler_are_those_of_the_library(name: str) -> None:
    known = CLASSES[name]
    parts = set(inspect.signature(getattr(diffusers, name).__init__).parameters)
    assert set(known.denoisers) | set(known.float32) <= parts
    assert known.guider == ("guider" in parts)
    assert bool(known.guardrail) == ("safety_checker" in parts)
    step = inspect.signature(getattr(diffusers, known.scheduler).step).parameters
    assert known.noise == ("generator" in step)
    assert set(known.loads_from) <= set(CLASSES)


@pytest.mark.parametrize("name", sorted(load_registry().rows))
def test_the_defaults_of_a_row_are_the_librarys_unless_a_note_says_why(name: str) -> None:
    row = load_registry().rows[name]
    known = CLASSES[row.pipeline]
    assert set(row.dtype) <= {"default", *inspect.signature(getattr(diffusers, row.pipeline).__init__).parameters}
    assert {part for part, precision in row.dtype.items() if precision == "float32"} == set(known.float32)
    assert row.audio == bool(known.sound)
    assert (row.revision == "unpinned", row.manifest == "unpinned") == (not row.packaged, not row.packaged)
    assert row.licence.verified == row.packaged
