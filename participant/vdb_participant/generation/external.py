"""Clips of models that run elsewhere: a command that writes a file, or an endpoint that answers with one.

Promises that neither can take more than its row's seconds and bytes, that a command and all it started end with it, that no
redirect is followed, that a request is in the egress journal before it leaves, and that what comes back is decoded like any
untrusted file; that a command is told neither the passphrase nor tokens; and that words of a command or a server, which may
quote the prompt, are kept apart from the reason. Leaves what the model is, and whether it gives the same clip again, to whoever
wrote the row: nothing here can prove it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from vdb_participant.data.resize import fit
from vdb_participant.data.video import Frames, decode
from vdb_participant.data.video import Limits as DecodingLimits
from vdb_participant.device import ELSEWHERE
from vdb_participant.environment import for_child
from vdb_participant.generation.settings import Clip, GenerationError, GenerationSettings
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.egress_format import Departure, Part
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import DatasetError, ModelError
from vdb_shared.registry.external import PLACEHOLDERS, Command, Endpoint, Limits
from vdb_shared.registry.rows import Row

_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")

_LOOK_SECONDS: Final = 0.05
"""Between two looks at a command and the size of its file."""

_CHUNK_BYTES: Final = 2**16
_WORDS: Final = 200
"""Characters of a failed command's or endpoint's own words in our message."""


Record = Callable[[Endpoint, bytes, tuple[Part, ...]], None]
"""Records the body of a request, and the texts in it, before it leaves."""


class ExternalGenerator:
    """A model of the class "external"; what it computes on, and what that takes but time, nobody here knows."""

    def __init__(
        self, row: Row, settings: GenerationSettings, egress: Path | None = None, withheld: Collection[str] = ()
    ) -> None:
        """Bind a row to settings.

        Args:
            row: of the site's registry.
            settings: of its clips.
            egress: journal in which every request to an endpoint is recorded before it leaves; None for programs without a
                state folder.
            withheld: variables with tokens of endpoints, which a command has no use for.
        """
        self.device = ELSEWHERE
        self._egress = None if egress is None else EgressJournal(egress)
        self._withheld = frozenset(withheld)
        self._row = row
        self._settings = settings

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        """Return the clip of a prompt and seed; see `Generator`."""
        if condition is not None:
            raise GenerationError(f"{self._row.id}: external models take words only")
        how = self._row.external
        if how is None:
            raise ModelError(f"{self._row.id}: has no table [models.external]; see `models add`")
        with tempfile.TemporaryDirectory(prefix="vdb-external-") as folder:
            output = Path(folder) / "clip.mp4"
            (Path(folder) / "prompt.txt").write_text(prompt, encoding="utf-8")
            values = self._values(prompt, seed, output)
            if isinstance(how, Command):
                _run_command(how, values, output, for_child(self._withheld))
            else:
                _ask_endpoint(how, values, output, self._record)
            return Clip(self._fitted(output, how.limits))

    def warm_up(self) -> None:
        """Do nothing: a clip may cost money, and what is loaded elsewhere stays loaded."""

    def _record(self, endpoint: Endpoint, body: bytes, parts: tuple[Part, ...]) -> None:
        if self._egress is not None:
            place = urlsplit(endpoint.url)
            what = f"POST {endpoint.place}"
            fields = {"model": self._row.id}
            address = f"{place.hostname}:{place.port or (443 if place.scheme == 'https' else 80)}"
            self._egress.record(Departure("request", address, what, len(body), sha256_digest(body), fields, parts))

    def _values(self, prompt: str, seed: int, output: Path) -> Mapping[str, str | int]:
        settings = self._settings
        return {
            "prompt": prompt,
            "prompt_file": str(output.with_name("prompt.txt")),
            "seed": seed,
            "seed32": seed & 0x7FFFFFFF,
            "frames": settings.frames,
            "height": settings.height,
            "width": settings.width,
            "fps": settings.fps,
            "output": str(output),
        }

    def _fitted(self, output: Path, limits: Limits) -> Frames:
        """Return the clip's first frames, stretched to the settings' size as reference clips are."""
        settings = self._settings
        bounds = DecodingLimits(file_bytes=limits.bytes, seconds=min(limits.seconds, DecodingLimits().seconds))
        try:
            clip = decode(output, frames=settings.frames, limits=bounds)
            return fit(clip, frames=settings.frames, height=settings.height, width=settings.width)
        except DatasetError as error:
            raise GenerationError(f"{self._row.id}: its clip {str(error).removeprefix(f'{output}: ')}") from error


def _filled(text: str, values: Mapping[str, str | int]) -> str:
    """Return a text with its placeholders replaced, once: a prompt's own braces stay."""
    return _PLACEHOLDER.sub(lambda found: str(values[found.group(1)]), text)


def _run_command(
    command: Command, values: Mapping[str, str | int], output: Path, environment: Mapping[str, str]
) -> None:
    """Run a command in an environment until it has written its file.

    Raises:
        GenerationError: it fails, takes too long, or writes too much or nothing.
    """
    name, words = command.argv[0], [_filled(word, values) for word in command.argv]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(  # noqa: S603 - the site's own registry names the program; no shell reads it
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                env=environment,
            )
        except (OSError, ValueError) as error:
            raise GenerationError(f"{name}: cannot be started", str(error)) from error
        try:
            _wait(process, command.limits, output, name)
        finally:
            _end(process)
        if process.returncode:
            raise GenerationError(f"{name}: ended with code {process.returncode}", _last_words(said))
    if not output.is_file():
        raise GenerationError(f"{name}: ended without writing {{output}}")


def _wait(process: subprocess.Popen[bytes], limits: Limits, output: Path, name: str) -> None:
    ends = time.monotonic() + limits.seconds
    while True:
        if output.exists() and output.stat().st_size > limits.bytes:
            raise GenerationError(f"{name}: wrote more than the {limits.bytes} bytes allowed")
        try:
            process.wait(_LOOK_SECONDS)
            return
        except subprocess.TimeoutExpired:
            if time.monotonic() > ends:
                raise GenerationError(f"{name}: took longer than the {limits.seconds:g} s allowed") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and whatever it started and left behind in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - 4096))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:_WORDS] if lines else "it said nothing"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry prompt and token to an address that nobody agreed on."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        del req, fp, code, msg, headers, newurl


def _opener(endpoint: Endpoint) -> urllib.request.OpenerDirector:
    """Return what opens an address: one on this machine directly, whatever proxy the environment names for others."""
    if endpoint.is_local:
        return urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(_NoRedirect)


def _ask_endpoint(endpoint: Endpoint, values: Mapping[str, str | int], output: Path, record: Record) -> None:
    """Ask an endpoint for one clip and write its answer.

    Raises:
        GenerationError: it refuses, takes too long, or answers too much or something else than a video.
        ModelError: the token's variable is not set.
        StoreError: the request cannot be recorded, so it was not sent.
    """
    asked = {name: _request_value(value, values) for name, value in endpoint.request.items()}
    body = json.dumps(asked).encode()
    headers = {"Content-Type": "application/json", "Accept": "video/*"} | _authorization(endpoint)
    request = urllib.request.Request(endpoint.url, data=body, headers=headers, method="POST")  # noqa: S310 - http(s) by its schema
    texts = {name: value.encode() for name, value in asked.items() if isinstance(value, str)}
    record(endpoint, body, tuple(Part(name, len(text), sha256_digest(text)) for name, text in texts.items()))
    ends = time.monotonic() + endpoint.limits.seconds
    try:
        with _opener(endpoint).open(request, timeout=endpoint.limits.seconds) as answer:
            kind = answer.headers.get_content_type()
            if not (kind.startswith("video/") or kind == "application/octet-stream"):
                raise GenerationError(
                    f"{endpoint.place}: expected a video, it answered with something else", kind[:_WORDS]
                )
            _copy(answer, output, endpoint, ends)
    except urllib.error.HTTPError as error:
        raise GenerationError(f"{endpoint.place}: answered {error.code}", str(error.reason)[:_WORDS]) from error
    except (urllib.error.URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise GenerationError(f"{endpoint.place}: gave no answer", str(reason)[:_WORDS]) from error


def _copy(answer: HTTPResponse, output: Path, endpoint: Endpoint, ends: float) -> None:
    size = 0
    with output.open("wb") as stream:
        while chunk := answer.read1(_CHUNK_BYTES):  # what is there, so that a slow answer is looked at too
            size += len(chunk)
            if size > endpoint.limits.bytes:
                raise GenerationError(f"{endpoint.place}: answered more than the {endpoint.limits.bytes} bytes allowed")
            if time.monotonic() > ends:
                raise GenerationError(f"{endpoint.place}: took longer than the {endpoint.limits.seconds:g} s allowed")
            stream.write(chunk)


def _request_value(value: bool | int | str, values: Mapping[str, str | int]) -> bool | int | str:
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    return values[whole.group(1)] if whole else _filled(value, values)


def _authorization(endpoint: Endpoint) -> dict[str, str]:
    if not endpoint.token_variable:
        return {}
    token = os.environ.get(endpoint.token_variable, "")
    if not token:
        raise ModelError(f"{endpoint.place}: its token is expected in the variable {endpoint.token_variable}; set it")
    return {"Authorization": f"Bearer {token}"}
