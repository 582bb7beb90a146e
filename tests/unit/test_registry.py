"""The registry as data: packaged rows, a site's own, and the clips that a class can make."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from testkit.specs import TOML, small_spec
from vdb_shared.clips import check_clips, clip_terms
from vdb_shared.errors import SpecError, UsageError
from vdb_shared.registry.classes import pipeline_classes
from vdb_shared.registry.rows import load_registry, parse_rows
from vdb_shared.spec import Model, Spec, Video, parse_spec_json, parse_spec_toml

HEAD = 'version = "vdb-registry/1"\n'
OWN = """
[[models]]
id = "mine"
class = "WanPipeline"
licence = { name = "ours" }
steps = 4
guidance = 2
frames = 9
fps = 8
height = 32
width = 32
"""
CALLED = (
    OWN.replace('"WanPipeline"', '"external"')
    + '[models.external]\nkind = "command"\nargv = ["make-clip", "{output}"]\n'
)


def with_model(name: str, video: Video, **terms: object) -> Spec:
    model = Model.model_validate({"id": "m", "pipeline": name, "manifest": "sha256:" + "a" * 64, **terms})
    prompts = tuple(prompt.model_copy(update={"condition": "sha256:" + "c" * 64}) for prompt in small_spec().prompts)
    return small_spec(models=(model,), video=video, prompts=prompts)


def test_the_package_knows_the_families() -> None:
    rows = load_registry().rows
    assert len(rows) >= 30
    assert {"wan2.1-t2v-1.3b", "hunyuanvideo", "ltx-2", "mochi-1", "svd-xt", "helios-base"} <= set(rows)
    assert rows["hunyuanvideo"].licence.excluded == ("EU", "UK", "KR")
    assert rows["ltx-2"].audio
    assert {row.pipeline for row in rows.values()} <= set(pipeline_classes())


@pytest.mark.parametrize("name", sorted(pipeline_classes()))
def test_clips_that_a_class_cannot_make_are_refused_with_ones_that_it_can(name: str) -> None:
    known = pipeline_classes()[name]
    rule = known.frames
    height = known.sides["height"].least if known.sides else known.multiple * -(-16 // known.multiple)
    width = known.sides["width"].least if known.sides else height
    good = Video(frames=rule.least, height=height, width=width, fps=8)
    check_clips(with_model(name, good))
    wrong = rule.least + 1 if rule.step > 1 else (rule.most or 1023) + 1
    if wrong != 1024:
        with pytest.raises(SpecError, match="frames cannot be made by") as refusal:
            check_clips(with_model(name, good.model_copy(update={"frames": wrong})))
        assert refusal.value.field == "video.frames"
        for proposal in refusal.value.problem.rpartition("take ")[2].split(" or "):
            check_clips(with_model(name, good.model_copy(update={"frames": int(proposal)})))
    with pytest.raises(SpecError, match="is not a multiple of") as refusal:
        check_clips(with_model(name, good.model_copy(update={"height": height + 1})))
    assert refusal.value.field == "video.height"


def test_a_side_rule_beyond_multiples() -> None:
    video = Video(frames=24, height=320, width=320, fps=15)
    with pytest.raises(
        SpecError, match=r"344 cannot be made by AllegroPipeline, whose width is 240k\+80; take 320 or 560"
    ):
        check_clips(with_model("AllegroPipeline", video.model_copy(update={"width": 344})))


def test_a_model_that_needs_more_than_its_class() -> None:
    spec = small_spec()
    model = spec.models[0].model_copy(update={"id": "wan2.2-ti2v-5b"})
    video = Video(frames=9, height=48, width=64, fps=8)
    with pytest.raises(SpecError, match="48 is not a multiple of 32, as WanPipeline needs; take 32 or 64"):
        check_clips(spec.model_copy(update={"models": (model,), "video": video}))


def test_a_models_own_terms_go_before_the_specs() -> None:
    spec = parse_spec_toml(
        TOML.replace('id = "tiny-wan-b"\n', 'id = "tiny-wan-b"\nframes = 13\nguidance = 1.5\nfps = 24\n')
    )
    first, second = (clip_terms(spec, model) for model in spec.models)
    assert (first.frames, first.fps, first.steps, str(first.guidance)) == (9, 8, 2, "2")
    assert (second.frames, second.fps, second.steps, str(second.guidance)) == (13, 24, 2, "1.5")
    assert parse_spec_json(spec.canonical()) == spec
    assert b'"guidance":"1.5"' in spec.canonical()
    wrong = parse_spec_toml(TOML.replace('id = "tiny-wan-b"\n', 'id = "tiny-wan-b"\nframes = 12\n'))
    with pytest.raises(
        SpecError, match=r"12 frames cannot be made by WanPipeline, which makes 4k\+1; take 9 or 13"
    ) as refusal:
        check_clips(wrong)
    assert refusal.value.field == "models.1.frames"


def test_a_spec_without_own_terms_has_the_bytes_it_always_had() -> None:
    spec = small_spec()
    older = spec.model_copy(update={"generation": spec.generation.model_copy(update={"checked_share": Decimal(0)})})
    assert older.digest == "sha256:a6691d0eafdb20758eaa1de153145d5b8366ad12dd6447083668f983e210c372"
    written = small_spec().canonical().replace(b'"pipeline":"WanPipeline"', b'"pipeline":"WanPipeline","steps":null', 1)
    with pytest.raises(SpecError, match="canonical"):
        parse_spec_json(written)


def test_a_sites_file_adds_replaces_and_builds_on_models(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(HEAD + OWN)
    (tmp_path / "style.toml").write_text(
        HEAD + '[[models]]\nid = "style"\nbase = "wan2.1-t2v-1.3b"\nlora = "style.safetensors"\nscale = 0.5\n'
        '[[models]]\nid = "mochi-1"\nbase = "mine"\nsteps = 7\n'
    )
    registry = load_registry(tmp_path)
    assert registry.own == {"mine", "style", "mochi-1"}
    style = registry.rows["style"]
    assert (style.pipeline, style.steps, style.scale, style.repository) == ("WanPipeline", 50, 0.5, None)
    assert registry.rows["mochi-1"].steps == 7
    assert registry.rows["mochi-1"].pipeline == "WanPipeline"
    folders = {"style": "sha256:" + "a" * 64, "wan2.1-t2v-1.3b": "sha256:" + "b" * 64}
    stronger = style.model_copy(update={"scale": 0.6})
    assert style.composed(folders) not in (folders["style"], stronger.composed(folders))
    assert registry.rows["mine"].composed({"mine": folders["style"]}) == folders["style"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "f.toml: not TOML: "),
        ("models = []", 'f.toml: version: expected "vdb-registry/1", found None'),
        (HEAD + "model = []", "f.toml: model: expected version and tables"),
        (HEAD + OWN.replace('id = "mine"', ""), "f.toml: models.0.id: is missing"),
        (HEAD + OWN.replace("steps", "step"), "f.toml: mine: steps: is missing"),
        (HEAD + OWN.replace("WanPipeline", "WanPipelines"), "did you mean WanPipeline?"),
        (HEAD + OWN.replace("frames = 9", "frames = 10"), "10 frames cannot be made by WanPipeline"),
        (HEAD + OWN + 'lora = "x.safetensors"\n', "lora: goes over the weights of another model"),
        (HEAD + OWN + 'base = "nothing"\n', "base: 'nothing' is no model that stands on its own"),
        (HEAD + OWN + 'manifest = "sha256:1"\n', "manifest: "),
        (HEAD + OWN.replace('"WanPipeline"', '"external"'), "external: a table [models.external] goes with"),
        (HEAD + CALLED.replace("{output}", "{outputs}"), "no word holds {output}"),
        (HEAD + CALLED.replace("{output}", "{output} {promt}"), "argv: {promt} is no placeholder; there are prompt, "),
        (HEAD + OWN + OWN, "f.toml: models.1.id: mine stands in the file twice"),
        (HEAD + CALLED.replace('"command"', '"shell"'), "external: Input tag 'shell'"),
        (
            HEAD + OWN.replace('"WanPipeline"', '"external"')
            + '[models.external]\nkind = "http"\nurl = "http://example.org/x"\nrequest = {}\n',
            "plain http is for this machine only",
        ),
    ],
)  # fmt: skip
def test_a_mistake_names_file_and_field(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_rows(text, file="f.toml")
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_external_models_digest_is_how_it_is_run() -> None:
    (row,) = parse_rows(HEAD + CALLED, file="f")
    (other,) = parse_rows(HEAD + CALLED.replace("make-clip", "make-clips"), file="f")
    (slower,) = parse_rows(HEAD + CALLED + "limits = { seconds = 9 }\n", file="f")
    assert row.external_digest() == slower.external_digest() != other.external_digest()
