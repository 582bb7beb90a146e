"""An institution's page: the verified result and clips of public prompts, as many as were made here, and nothing private."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from testkit.bundles import SmallSession, small_session
from testkit.own_clips import QUICK, SECRET, SECRET_COLOUR, US, make, ours, plant, session_of, spec_of
from testkit.pages import (
    broken_names,
    check_fits_screens,
    check_may_be_passed_on,
    check_speaks,
    outline,
    pictures,
)
from testkit.small_specs import small_spec
from vdb_participant.generation.breaker import Breaker
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.settings import Clip, settings_of
from vdb_participant.generation.store import ClipStore
from vdb_participant.report.choice import choose
from vdb_participant.report.pages import Held, evaluation_page, session_page
from vdb_participant.report.section import clips_section
from vdb_participant.report.strips import MOST_VALUES, chosen_frames
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.errors import UsageError, VerificationError
from vdb_shared.evaluation import evaluate
from vdb_shared.privacy.mechanism import decode
from vdb_shared.registry.rows import load_registry
from vdb_shared.tasks import ClipTask, public_tasks

REGISTRY = load_registry()


def shows_the_secret(page: str) -> bool:
    return any((picture == SECRET_COLOUR).all(axis=2).any() for picture in pictures(page))


def page_of(session: SmallSession, store: ClipStore, prompts: int = 6) -> str:
    return session_page(session.bundle(), US, session.root, Held(store, REGISTRY, prompts))


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    return ClipStore(tmp_path / "clips")


def test_the_page_shows_the_very_clips_beside_the_verified_result(store: ClipStore) -> None:
    session = session_of(samples=10)
    make(store, spec_of(session), ours(session))
    page = page_of(session, store)
    parsed = outline(page)
    assert "✓ verified" in parsed.text
    assert "Made at lab-kyoto" in parsed.text
    assert "Only public prompts" in parsed.text
    shown = pictures(page)
    assert len(shown) == 4 * 3
    spec, engine = spec_of(session), Engine(spec_of(session), store)
    expected: list[tuple[str, NDArray[np.uint8]]] = []
    for prompt in spec.prompts:
        for model in spec.models:
            task = min(
                (task for task in ours(session) if (task.model, task.prompt) == (model.id, prompt.text)),
                key=lambda task: task.sample,
            )
            clip = store.get(engine.key(task))
            assert clip is not None
            expected.append(
                (f"“{prompt.text}”: {model.id}, sample {task.sample}, class exact, profile exact", clip.frames)
            )
    for picture, image, (caption, frames) in zip(shown, parsed.images, expected, strict=True):
        assert caption in parsed.text
        for place, number in enumerate(chosen_frames(9)):
            np.testing.assert_array_equal(picture[:, place * 34 : place * 34 + 32], frames[number])
        assert caption.split("”")[0] in str(image["alt"])
        assert caption.split(": ")[1].split(",")[0] in str(image["alt"])
        assert "frames 1, 3, 5, 7, 9 of 9" in str(image["alt"])


def test_the_page_works_offline_and_runs_nothing(store: ClipStore) -> None:
    session = session_of()
    make(store, spec_of(session), ours(session))
    page = page_of(session, store)
    parsed = outline(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in parsed.images)
    assert all(image["alt"] and image["width"] and image["height"] for image in parsed.images)
    assert "://" not in page
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    check_fits_screens(page)
    check_speaks(page)
    check_may_be_passed_on(page)
    assert broken_names(page, {US, *(model.id for model in spec_of(session).models)}) == []


def test_clips_of_other_institutions_are_said_to_be_elsewhere(store: ClipStore) -> None:
    session = session_of()
    make(store, spec_of(session), ours(session))
    page = page_of(session, store)
    places = len({(task.model, task.prompt) for task in ours(session)})
    assert places < 4 * 3
    assert len(pictures(page)) == places
    chosen = choose(spec_of(session), ours(session), store, REGISTRY)
    rows = sum(len(item.places) for item in chosen)
    assert outline(page).text.count("Fell to another institution.") == rows - places > 0


def test_prompts_that_most_models_made_here_come_first(store: ClipStore) -> None:
    session = session_of()
    spec = spec_of(session)
    make(store, spec, ours(session))

    def held(prompt: str) -> int:
        return len({task.model for task in ours(session) if task.prompt == prompt})

    (best,) = choose(spec, ours(session), store, REGISTRY, 1)
    assert held(best.prompt.text) == max(held(prompt.text) for prompt in spec.prompts)
    assert len({held(prompt.text) for prompt in spec.prompts}) > 1
    chosen = choose(spec, ours(session), store, REGISTRY, 3)
    order = [prompt.id for prompt in spec.prompts]
    assert [item.prompt.id for item in chosen] == sorted((item.prompt.id for item in chosen), key=order.index)


ENDED = "could not be made: its model ended with an error; the reason is in this site's own records."


def test_a_clip_that_failed_says_so_in_its_place(store: ClipStore) -> None:
    session = session_of(samples=10)
    spec = spec_of(session)
    make(store, spec, ours(session), failing={spec.prompts[0].text: 2})
    text = outline(page_of(session, store)).text
    assert text.count(ENDED) == len(spec.models)
    assert "out of paint" not in text


def test_a_clip_that_was_removed_or_damaged_is_said_to_be_gone(store: ClipStore) -> None:
    session = session_of()
    make(store, spec_of(session), ours(session))
    first, second, *_ = sorted(store.directory.glob("??/*.clip"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    places = len({(task.model, task.prompt) for task in ours(session)})
    page = page_of(session, store)
    gone = outline(page).text.count("was made here but is not in this site's store any more")
    assert gone == places - len(pictures(page)) > 0


def test_without_any_clip_the_page_is_whole(store: ClipStore) -> None:
    session = session_of()
    page = page_of(session, store)
    assert pictures(page) == []
    places = len({(task.model, task.prompt) for task in ours(session)})
    assert outline(page).text.count("is not in this site's store any more") == places
    assert "so there is nothing to show" in outline(page_of(session, store, prompts=0)).text


def test_nothing_private_is_on_the_page(store: ClipStore) -> None:
    """Planted: a private prompt with its clip, and a private prompt in the very words of a public one."""
    session = session_of()
    spec = spec_of(session)
    mine = {(task.model, task.prompt) for task in ours(session)}
    make(store, spec, ours(session))
    before = page_of(session, store)
    for model in spec.models:
        plant(store, spec, ClipTask(model.id, SECRET, 0))
        for prompt in spec.prompts:
            if (model.id, prompt.text) not in mine:
                plant(store, spec, ClipTask(model.id, prompt.text, 0))
    assert page_of(session, store) == before
    assert SECRET not in before
    assert not shows_the_secret(before)


def test_clips_of_private_prompts_are_not_shown_where_a_spec_has_private_metrics_alone(store: ClipStore) -> None:
    session = session_of(metrics='[{ id = "temporal-flickering@1", inputs = "private" }]', extractors="[]")
    for task in ours(session):
        plant(store, spec_of(session), task)
    page = page_of(session, store)
    assert pictures(page) == []
    assert "so there is nothing to show" in outline(page).text


def test_a_secret_that_is_shown_would_be_found(store: ClipStore) -> None:
    """The search of the tests above can fail."""
    session = session_of()
    plant(store, spec_of(session), ours(session)[0])
    assert shows_the_secret(page_of(session, store))


def test_a_stopped_model_does_not_tell_of_the_clip_that_stopped_it(store: ClipStore) -> None:
    """A model that a private prompt stopped: its error speaks of the prompt, and public clips fail in its wake."""
    session = session_of()
    spec = spec_of(session)
    for _ in range(3):
        Breaker(store, spec.models[0].manifest).failed(f"cannot draw '{SECRET}'")
    make(store, spec, ours(session))
    page = page_of(session, store)
    assert "could not be made: its model was stopped here, since clip after clip failed." in outline(page).text
    assert SECRET not in page


HOSTILE = """<script>alert(1)</script>" onload="alert(2)" x='& <img src=x>"""


def test_words_of_a_prompt_cannot_become_markup(store: ClipStore) -> None:
    text = HOSTILE.replace('"', '\\"')
    session = session_of(prompts=f'[{{ id = "hostile", text = "{text}" }}]', samples=10)
    make(store, spec_of(session), ours(session))
    page = page_of(session, store)
    parsed = outline(page)
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert len(parsed.images) == 3
    assert all(HOSTILE in str(image["alt"]) for image in parsed.images)
    assert HOSTILE in parsed.text


@pytest.mark.parametrize(
    "reason",
    [
        "/home/kim/bin/make-clip: ended with code 1: cannot open '/mnt/Ward 3 Smith/models/w.bin'",
        "C:\\Users\\Jane Doe\\w.bin: is gone",
        "file:/home/kim/w.bin, ~jane/w.bin, PYTHONPATH:/home/kim",
        "https://gpu7.ward3.clinic.example:8000/v1: answered 500 Error",
        "gpu7.ward3.clinic.example:8000: refused",
        "HTTPConnectionPool(host='10.2.3.4', port=8000): timed out",
        "the model was stopped after 3 clips in /mnt/Ward 3 Smith",
        "<b>" + "x" * 5000,
        "",
    ],
)
def test_no_word_of_a_reason_is_on_the_page(store: ClipStore, reason: str) -> None:
    """The section says that it may be shown to others: the page is the same whatever a command or a server said."""
    session = session_of()
    key = Engine(spec_of(session), store).key(ours(session)[0])
    stopped = reason.startswith("the model was stopped after")
    store.give_up(
        key, "the model was stopped after 3 clips in a row failed; the last: x" if stopped else "out of paint"
    )
    expected = page_of(session, store)
    store.give_up(key, reason)
    page = page_of(session, store)
    assert page == expected
    assert (ENDED in outline(page).text) is not stopped
    check_may_be_passed_on(page)
    for word in ("Smith", "Jane", "jane", "kim", "ward3", "10.2.3.4", "xxx"):
        assert word not in page


def test_the_reason_stays_whole_in_the_sites_own_records(store: ClipStore) -> None:
    """It can be looked up where the page sends its reader."""
    session = session_of()
    key = Engine(spec_of(session), store).key(ours(session)[0])
    reason = "cannot open '/mnt/Ward 3 Smith/models/w.bin'"
    store.give_up(key, reason)
    page_of(session, store)
    assert store.failure(key) == reason
    assert reason.encode() in next(store.directory.glob("??/*.failed")).read_bytes()


def test_a_page_of_small_clips_is_small(store: ClipStore) -> None:
    prompts = ", ".join(f'{{ id = "p{number}", text = "prompt {number}" }}' for number in range(8))
    session = session_of(samples=5, prompts=f"[{prompts}]")
    make(store, spec_of(session), ours(session))
    page = page_of(session, store)
    assert len(pictures(page)) == 6 * 3
    assert len(page.encode()) < 2**20


def test_a_page_of_large_clips_is_bounded_too(store: ClipStore) -> None:
    """Noise, which no compression makes smaller; as many clips as do not fit at full height."""
    video = "{ frames = 5, height = 480, width = 832, fps = 8 }"
    session = session_of(samples=5, video=video)
    engine = Engine(spec_of(session), store)
    for number, task in enumerate(ours(session)):
        noise = np.random.default_rng(number).integers(0, 256, (5, 480, 832, 3), dtype=np.uint8)
        store.put(engine.key(task), Clip(noise), seconds=1.0, device="CPU")
    page = page_of(session, store)
    assert {picture.shape[0] for picture in pictures(page)} == {128}
    assert len(page.encode()) < 1.4 * MOST_VALUES


def test_prompts_that_no_scaling_makes_fit_are_left_out(store: ClipStore) -> None:
    session = session_of(samples=5)
    spec = spec_of(session)
    make(store, spec, ours(session))
    chosen = choose(spec, ours(session), store, REGISTRY)
    assert len(chosen) == 4
    smallest = 5 * 16 * (16 + 2) * 3
    half = clips_section(chosen, store, US, values=6 * smallest)
    assert {picture.shape for picture in pictures(half)} == {(16, 5 * 16 + 4 * 2, 3)}
    assert len(pictures(half)) == 6
    assert "Left out to keep the page small: 2 of 4 prompts." in half
    none = clips_section(chosen, store, US, values=2 * smallest)
    assert pictures(none) == []
    assert "Left out to keep the page small: 4 of 4 prompts." in none


def test_under_auto_clips_are_found_whatever_profile_they_have(store: ClipStore) -> None:
    spec = small_spec(metrics=QUICK)
    made = spec.generation.model_copy(update={"profile": "auto", "grade": "accelerated"})
    spec = spec.model_copy(update={"generation": made})
    tasks = public_tasks(spec)
    names = dict(zip((model.id for model in spec.models), ("fast", "balanced", "low-memory"), strict=True))
    engine = Engine(spec, store, settings_of(spec, profiles=names))
    for task in tasks:
        if task.sample == 0:
            store.put(engine.key(task), Clip(np.zeros((9, 32, 32, 3), np.uint8)), seconds=1.0, device="H200")
    section = clips_section(choose(spec, tasks, store, REGISTRY), store, US)
    for model, name in names.items():
        caption = f"{model}, sample 0, class accelerated, profile {name}"
        assert outline(section).text.count(caption) == len(spec.prompts)


def test_figures_of_a_bundle_that_fails_are_never_shown(store: ClipStore) -> None:
    session, held = session_of(), Held(store, REGISTRY)
    with pytest.raises(VerificationError, match="V41"):
        session_page(session.forged({"metrics.json": b"{}"}, accomplices=(0, 1, 3, 4)), US, session.root, held)
    with pytest.raises(VerificationError, match="V10"):
        session_page(session.bundle(), US, small_session(9).root, held)
    with pytest.raises(UsageError, match="hospital-x did not join this session"):
        session_page(session.bundle(), "hospital-x", session.root, held)


def test_what_was_agreed_is_what_the_audit_demands(store: ClipStore) -> None:
    """A consortium may agree to a larger ε than the audit's own policy allows; its page is of a result it stands for."""
    session = session_of(privacy="{ epsilon = 20, delta = 1e-6, maximum_records = 2000 }")
    assert "ε = 20" in outline(page_of(session, store)).text


def test_one_site_alone_has_a_page_too(store: ClipStore) -> None:
    session = session_of()
    spec = spec_of(session)
    make(store, spec, public_tasks(spec))
    evidence = Evidence(session.bundle(), None, DEFAULT_POLICY, draft=False)
    statistics = decode(evidence.terms.layout, evidence.terms.calibration, evidence.totals)
    page = evaluation_page(spec, evaluate(spec, statistics, None), Held(store, REGISTRY))
    assert len(pictures(page)) == 4 * 3
    text = outline(page).text
    assert "signed by nobody" in text
    assert "another institution" not in text
    assert "Made at this site" in text
