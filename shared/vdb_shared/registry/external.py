"""Models that run elsewhere: a command that writes a clip, or a web address that answers with one.

Promises that a misspelt placeholder is refused when the row is read, and that prompts go over plain HTTP to this machine
only. Leaves running commands and asking addresses to the participant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from vdb_shared.registry.classes import Entry, Texts

PLACEHOLDERS: Final = ("prompt", "prompt_file", "seed", "seed32", "frames", "height", "width", "fps", "output")
"""What stands in braces in a command's words and in an endpoint's request; seed32 is the seed's lowest 31 bits."""

_IN_BRACES: Final = re.compile(r"\{([a-z0-9_]+)\}")


class Limits(Entry):
    """What one clip of an external model may take: seconds, and bytes of the video it writes or answers."""

    seconds: float = Field(default=3600.0, gt=0)
    bytes: int = Field(default=2**30, gt=0)


def _check_placeholders(field: str, texts: Iterable[str]) -> None:
    """Refuse a word in braces that is no placeholder: misspelt, it would be passed on as it stands, for every clip."""
    for text in texts:
        for word in _IN_BRACES.findall(text):
            if word not in PLACEHOLDERS:
                raise ValueError(f"{field}: {{{word}}} is no placeholder; there are {', '.join(PLACEHOLDERS)}")


class Command(Entry):
    """A program that writes one clip.

    Attributes:
        argv: its words, with placeholders; {output} is the file to write, in a container that `data check` reads. Words stand
            in the machine's list of processes while it runs: {prompt_file}, a text file that only its user may read, keeps a
            prompt out of it.
    """

    kind: Literal["command"]
    argv: Annotated[Texts, Field(min_length=1)]
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _has_output(self) -> Self:
        if not any("{output}" in word for word in self.argv):
            raise ValueError("argv: no word holds {output}, the file to write")
        _check_placeholders("argv", self.argv)
        return self


class Endpoint(Entry):
    """A web address that answers one request with one clip.

    Attributes:
        url: https, or http on this machine.
        request: JSON object, with placeholders in its texts; a text that is one placeholder of a number becomes the number.
        token_variable: environment variable whose value is sent as bearer token, or "".
    """

    kind: Literal["http"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
    request: Mapping[str, bool | int | str]
    token_variable: str = ""
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if self.url.startswith("http:") and not self.is_local:
            raise ValueError("url: plain http is for this machine only; take https")
        if "@" in urlsplit(self.url).netloc:
            raise ValueError("url: holds a name or password, which is never sent; name a token_variable")
        _check_placeholders("request", [value for value in self.request.values() if isinstance(value, str)])
        return self

    @property
    def place(self) -> str:
        """The address without its query, which may hold a key: what errors say."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, so that prompts stay here."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")
