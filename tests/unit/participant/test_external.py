"""Models that run elsewhere: within their limits, decoded like any untrusted file, and every fault one line."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import structlog
from pydantic import ValidationError

from testkit.specs import small_spec
from vdb_participant.data.video import encode_mp4
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.external import ExternalGenerator
from vdb_participant.generation.settings import GenerationError, GenerationSettings, settings_of
from vdb_participant.generation.store import ClipStore
from vdb_participant.models import check_prompts_stay, verify_model
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.egress_format import Part
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import ModelError, StoreError
from vdb_shared.registry.rows import Registry, Row
from vdb_shared.spec import Model
from vdb_shared.tasks import ClipTask

SETTINGS = GenerationSettings(5, 32, 48, 4, 2.0, "", "exact", 8)
PROMPT = 'a {seed} "quoted" prompt; $(touch x)'


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of eight frames of 64 x 96."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    frames = np.random.default_rng(0).integers(0, 256, (8, 64, 96, 3), dtype=np.uint8)
    encode_mp4(path, frames, fps=8)
    return path


def row(**how: Any) -> Row:
    facts = {"id": "closed", "class": "external", "licence": {"name": "theirs"}, "steps": 1, "guidance": 1}
    clip = {"frames": 5, "fps": 8, "height": 32, "width": 48}
    return Row.model_validate(facts | clip | {"external": how})


def command(*argv: str | Path, **limits: Any) -> ExternalGenerator:
    words = [sys.executable, *map(str, argv)]
    return ExternalGenerator(row(kind="command", argv=words, limits=limits), SETTINGS)


def script(folder: Path, text: str) -> Path:
    path = folder / "make.py"
    path.write_text("import sys, time, os, shutil, subprocess, pathlib\n" + text)
    return path


def test_a_command_gets_its_words_and_its_clip_is_fitted(tmp_path: Path, video: Path) -> None:
    program = script(tmp_path, f"pathlib.Path({str(tmp_path / 'said')!r}).write_text(repr(sys.argv[1:]))\n"
                               f"shutil.copy({str(video)!r}, sys.argv[3])\n")  # fmt: skip
    made = command(program, "{prompt}", "--seed={seed}/{seed32}", "{output}", "{frames} {height} {width} {fps}")
    clip = made.generate(PROMPT, 2**40 + 7)
    assert clip.frames.shape == SETTINGS.shape
    assert clip.frames.dtype == np.uint8
    words = eval((tmp_path / "said").read_text())  # noqa: S307 - our own repr
    assert words[0] == PROMPT
    assert words[1] == f"--seed={2**40 + 7}/7"
    assert words[3] == "5 32 48 8"
    assert not Path(words[2]).exists()
    np.testing.assert_array_equal(made.generate(PROMPT, 1).frames, clip.frames)


def test_a_record_says_that_nobody_measured_memory_and_energy(tmp_path: Path, video: Path) -> None:
    """What this process holds in memory meanwhile is no figure of the model."""
    program = script(tmp_path, f"shutil.copy({str(video)!r}, sys.argv[1])")
    how = row(kind="command", argv=[sys.executable, str(program), "{output}"])
    model = Model(id="closed", pipeline="external", manifest=how.external_digest(), frames=5)
    spec = small_spec().model_copy(update={"models": (model,)})
    settings = settings_of(spec, Registry({"closed": how}))
    store = ClipStore(tmp_path / "store")
    engine = Engine(spec, store, settings)
    task = ClipTask("closed", PROMPT, 0)
    (made,) = engine.run((task,), lambda: ExternalGenerator(how, settings["closed"]), lambda _done, _total: None)
    clip = store.get(made.key)
    assert clip is not None
    assert clip.record["peak_memory"] == {"bytes": None, "kind": "not measured"}
    assert clip.record["energy"] == {"joules": None, "source": "not measured"}
    assert clip.device == "unknown, of an external model"
    assert clip.seconds > 0


@pytest.mark.parametrize(
    ("body", "limits", "problem"),
    [
        ("sys.stderr.write('no\\ngood luck\\n'); sys.exit(3)", {}, "ended with code 3: good luck"),
        ("pass", {}, "ended without writing {output}"),
        ("time.sleep(60)", {"seconds": 0.3}, "took longer than the 0.3 s allowed"),
        (
            "open(sys.argv[1], 'wb').write(b'0' * 9999); time.sleep(60)",
            {"bytes": 1000},
            "wrote more than the 1000 bytes",
        ),
        ("open(sys.argv[1], 'wb').write(b'no video')", {}, "closed: its clip cannot be decoded"),
    ],
)
def test_a_command_that_fails_is_one_line(tmp_path: Path, body: str, limits: dict[str, Any], problem: str) -> None:
    started = time.monotonic()
    with pytest.raises(GenerationError) as refusal:
        command(script(tmp_path, body), "{output}", **limits).generate(PROMPT, 1)
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert time.monotonic() - started < 30


def test_what_a_command_says_of_a_prompt_stays_in_the_store(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It may quote it: neither the site's log nor the reason of clips that are no longer tried has a word of it."""
    said = "cannot draw: patient Jane Doe, left hip"
    program = script(tmp_path, f"sys.exit({said!r})")
    how = row(kind="command", argv=[sys.executable, str(program), "{output}"])
    model = Model(id="closed", pipeline="external", manifest=how.external_digest(), frames=5)
    spec = small_spec().model_copy(update={"models": (model,)})
    settings = settings_of(spec, Registry({"closed": how}))
    store = ClipStore(tmp_path / "store")
    tasks = [ClipTask("closed", PROMPT, number) for number in range(4)]
    with structlog.testing.capture_logs() as logged:
        made = Engine(spec, store, settings).run(
            tasks, lambda: ExternalGenerator(how, settings["closed"]), lambda _done, _total: None
        )
    assert [outcome.failure for outcome in made][:3] == [f"{sys.executable}: ended with code 1: {said}"] * 3
    assert store.failure(made[0].key) == made[0].failure
    assert made[3].failure == (
        f"the model was stopped after 3 clips in a row failed; the last: {sys.executable}: ended with code 1"
    )
    assert [str(line["reason"]).endswith("ended with code 1") for line in logged] == [True] * 2
    assert "Jane" not in str(logged) + "".join(capfd.readouterr())


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "child"
    body = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
    )
    with pytest.raises(GenerationError, match="without writing"):
        command(script(tmp_path, body), "{output}").generate(PROMPT, 1)
    child = int(note.read_text())
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the command's child still runs")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    generator = ExternalGenerator(row(kind="command", argv=[str(tmp_path / "none"), "{output}"]), SETTINGS)
    with pytest.raises(GenerationError, match="cannot be started"):
        generator.generate(PROMPT, 1)


def test_a_clip_that_is_too_short(tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    encode_mp4(path, np.zeros((3, 64, 96, 3), dtype=np.uint8), fps=8)
    program = script(tmp_path, f"shutil.copy({str(path)!r}, sys.argv[1])")
    with pytest.raises(GenerationError, match="closed: its clip has 3 frames, 5 are needed"):
        command(program, "{output}").generate(PROMPT, 1)


class _Answer(BaseHTTPRequestHandler):
    status: ClassVar[int] = 200
    kind: ClassVar[str] = "video/mp4"
    body: ClassVar[bytes] = b""
    seen: ClassVar[list[tuple[str, Any]]] = []

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.headers.get("Authorization", ""), asked))
        self.send_response(self.status)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.body)))
        if self.status == 302:
            self.send_header("Location", "http://example.org/elsewhere")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def endpoint(**answer: Any) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield the address of a server on this machine, and what it was asked."""
    handler = type("Answer", (_Answer,), {**answer, "seen": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/clips", handler.seen  # type: ignore[attr-defined] # made by type()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(url: str, *, egress: Path | None = None, **more: Any) -> ExternalGenerator:
    request = {"text": "{prompt}", "seed": "{seed}", "size": "{width}x{height}", "frames": "{frames}", "loop": False}
    return ExternalGenerator(row(kind="http", url=url, request=request, **more), SETTINGS, egress)


def test_an_endpoint_is_asked_and_its_clip_is_fitted(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSED_TOKEN", "secret")
    with endpoint(body=video.read_bytes()) as (url, seen):
        clip = asked(url, token_variable="CLOSED_TOKEN").generate(PROMPT, 9)
    assert clip.frames.shape == SETTINGS.shape
    assert seen == [
        ("Bearer secret", {"text": PROMPT, "seed": 9, "size": "48x32", "frames": 5, "loop": False}),
    ]


@pytest.mark.parametrize(
    ("answer", "limits", "problem"),
    [
        ({"status": 500}, {}, "answered 500"),
        ({"status": 302}, {}, "answered 302"),
        (
            {"kind": "text/html", "body": b"<p>hello"},
            {},
            "expected a video, it answered with something else: text/html",
        ),
        ({"body": b"0" * 5000}, {"bytes": 1000}, "answered more than the 1000 bytes allowed"),
        ({"body": b"no video"}, {}, "closed: its clip cannot be decoded"),
    ],
)
def test_an_endpoint_that_fails_is_one_line(answer: dict[str, Any], limits: dict[str, Any], problem: str) -> None:
    with endpoint(**answer) as (url, _), pytest.raises(GenerationError) as refusal:
        asked(url, limits=limits).generate(PROMPT, 1)
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_request_is_in_the_journal_before_it_leaves(tmp_path: Path, video: Path) -> None:
    journal = EgressJournal(tmp_path / "egress.jsonl")
    with endpoint(body=video.read_bytes()) as (url, seen):
        generator = asked(f"{url}?key=secret", egress=journal.path)
        generator.generate(PROMPT, 9)
        (left,) = (entry.departure for entry in journal.read().entries)
        assert (left.kind, left.what, left.fields) == ("request", f"POST {url}", {"model": "closed"})
        body = json.dumps(seen[0][1]).encode()
        assert (left.size, left.digest) == (len(body), sha256_digest(body))
        assert Part("text", len(PROMPT.encode()), sha256_digest(PROMPT.encode())) in left.parts
        assert "secret" not in journal.path.read_text()
        journal.path.write_bytes(journal.path.read_bytes()[:-4] + b"#}}\n")
        with pytest.raises(StoreError, match="so nothing is sent"):
            generator.generate(PROMPT, 10)
        assert len(seen) == 1


def test_an_endpoint_that_is_not_there() -> None:
    with endpoint() as (url, _):
        pass
    with pytest.raises(GenerationError, match="gave no answer"):
        asked(url).generate(PROMPT, 1)


@pytest.mark.parametrize("answer", [{"status": 500}, {"kind": "text/html"}, {"body": b"0" * 5000}, None])
def test_a_key_in_the_query_of_an_address_is_in_no_reason(answer: dict[str, Any] | None) -> None:
    with endpoint(**answer or {}) as (url, _):
        generator = asked(f"{url}?key=secret", limits={"bytes": 1000})
        if answer is not None:
            with pytest.raises(GenerationError, match=f"^{url}: ") as refusal:
                generator.generate(PROMPT, 1)
    if answer is None:
        with pytest.raises(GenerationError, match=f"^{url}: gave no answer") as refusal:
            generator.generate(PROMPT, 1)
    assert "secret" not in str(refusal.value)


def test_a_name_and_password_in_an_address_are_refused_when_its_row_is_read() -> None:
    """They are never sent, and would stand in whatever names the address."""
    with pytest.raises(ValidationError, match="url: holds a name or password, which is never sent"):
        row(kind="http", url="https://user:secret@example.org/clips", request={})


def test_a_token_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOSED_TOKEN", raising=False)
    with pytest.raises(ModelError, match="expected in the variable CLOSED_TOKEN"):
        asked("http://127.0.0.1:9/", token_variable="CLOSED_TOKEN").generate(PROMPT, 1)


def test_private_prompts_stay_here(tmp_path: Path) -> None:
    spec = small_spec()
    here = row(kind="http", url="http://localhost:1/", request={})
    away = row(kind="http", url="https://example.org/", request={})
    model = Model(id="closed", pipeline="external", manifest=away.external_digest())
    spec = spec.model_copy(update={"models": (model,)})
    check_prompts_stay(spec, Registry({"closed": here}))
    with pytest.raises(ModelError, match=r"private prompts would leave the site for https://example\.org/"):
        check_prompts_stay(spec, Registry({"closed": away}))
    assert verify_model(model, tmp_path, Registry({"closed": away})).manifest == model.manifest
    with pytest.raises(ModelError, match=r"closed: expected sha256:[0-9a-f]+ in the spec, found sha256:"):
        verify_model(model, tmp_path, Registry({"closed": here}))
    with pytest.raises(ModelError, match="no registry file here says how to run it"):
        verify_model(model, tmp_path, Registry({}))


def test_a_prompt_can_be_kept_out_of_the_list_of_processes(tmp_path: Path, video: Path) -> None:
    program = script(
        tmp_path,
        "given = pathlib.Path(sys.argv[1])\n"
        f"pathlib.Path({str(tmp_path / 'said')!r}).write_text(given.read_text() + repr(sys.argv))\n"
        "assert given.parent.stat().st_mode & 0o077 == 0\n"
        f"shutil.copy({str(video)!r}, sys.argv[2])\n",
    )
    command(program, "{prompt_file}", "{output}").generate(PROMPT, 1)
    said = (tmp_path / "said").read_text()
    assert said.startswith(PROMPT)
    assert said.count("quoted") == 1


def test_an_endpoint_on_this_machine_is_asked_without_a_proxy(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"body": video.read_bytes()}
    with endpoint(**answer) as (url, seen), endpoint(**answer) as (proxy, overheard):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        assert asked(url).generate(PROMPT, 1).frames.shape == SETTINGS.shape
    assert len(seen) == 1
    assert not overheard


def test_an_answer_that_drips_ends_in_time(video: Path) -> None:
    class Dripping(_Answer):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", self.kind)
            self.end_headers()
            for _ in range(200):
                time.sleep(0.1)
                self.wfile.write(b"0")
                self.wfile.flush()

    server = HTTPServer(("127.0.0.1", 0), Dripping)
    threading.Thread(target=server.handle_request, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(GenerationError, match=r"took longer than the 0\.5 s allowed"):
        asked(f"http://127.0.0.1:{server.server_port}/", limits={"seconds": 0.5}).generate(PROMPT, 1)
    assert time.monotonic() - started < 10
    server.server_close()
