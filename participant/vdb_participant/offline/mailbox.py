"""A site's outbox and inbox: one request at a time, numbered, and the answer to it and no other.

Promises that a request is durable before its file is in the outbox, that asking the same again after a crash gives the same
file, and that an answer is taken only if the relay signed it for this very request; whatever else lies in the inbox is named
and left alone. Leaves what is asked to `channel.py`.

    EXCHANGE/outbox/<institution>-000007.request      EXCHANGE/inbox/<institution>-000007.answer
    DIR/offline/{request,answer,deferred,lock}        the newest request, its answer, calls that go with the next one
    DIR/offline/settled                               what became of submissions, so that none is carried twice

Source: protos/README.md §12.8.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vdb_participant.offline.files import (
    MAX_FILE_BYTES,
    Answer,
    Call,
    Known,
    Parties,
    Refusal,
    Reply,
    Request,
    decode_answer,
    decode_request,
    encode_request,
)
from vdb_participant.site.storage import PRIVATE_FILE, erase, make_folder, write_durably
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.canonical import decode_fields, encode_fields
from vdb_shared.errors import AwaitedAnswerError, FormatError, SignatureError, StoreError, UsageError
from vdb_shared.identity import Signer, StatementPublicKey

OUTBOX: Final = "outbox"
INBOX: Final = "inbox"
OFFER: Final = ".offer"
"""Ends the name of a relay's offer, which may lie in the inbox."""
POLL_SECONDS: Final = 1.0
SUBMISSIONS: Final = frozenset(
    {
        "/vdb.v1.EnrolmentService/Enrol",
        "/vdb.v1.SessionService/Join",
        "/vdb.v1.SessionService/Countersign",
        "/vdb.v1.SessionService/Abort",
        "/vdb.v1.AggregationService/AdvertiseKeys",
        "/vdb.v1.AggregationService/ShareKeys",
        "/vdb.v1.AggregationService/UploadMaskedInput",
        "/vdb.v1.AggregationService/Complain",
        "/vdb.v1.AggregationService/SignConsistency",
        "/vdb.v1.AggregationService/RevealShares",
    }
)
"""Calls whose answer is final: a receipt, or a refusal that no time mends (§11.4, §11.5)."""
_NAMED: Final = 3
"""How many strange files of the inbox are named."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """What a site asks, and is answered, by files.

    Attributes:
        state: folder of what must survive a crash.
        exchange: folder with outbox and inbox; may be a stick that is away now and then.
        parties: whose requests these are.
        signer: the site's statement key.
        relay: the key of its relay.
        wait: whether to look for an answer until it comes, or to say at once that it is awaited.
        say: told once what is to be carried, before waiting.
        pause: sleeps between looks.
    """

    state: Path
    exchange: Path
    parties: Parties
    signer: Signer = field(repr=False)
    relay: StatementPublicKey
    wait: bool = False
    say: Callable[[str], None] = lambda _: None
    pause: Callable[[float], None] = time.sleep

    def newest(self) -> Answer | None:
        """Return the answer to the newest request, if it was taken.

        Raises:
            StoreError: what was kept is damaged.
        """
        with self._locked():
            found = self._request()
            return None if found is None else self._kept_answer(*found)

    def settled(self) -> Mapping[str, Reply]:
        """Return what was answered to every submission so far, by the call's digest: sent again it would be the same.

        Raises:
            StoreError: what was kept is damaged.
        """
        place = self._place("settled")
        if not place.exists():
            return {}
        try:
            return {reply.asked: reply for reply in map(_decode_reply, decode_fields(_read(place)))}
        except FormatError as error:
            raise StoreError(f"{place}: is damaged ({error}); restore it from a backup") from error

    def defer(self, call: Call) -> None:
        """Keep a call whose answer says nothing; it goes with the next request, before it."""
        with self._locked():
            encoded = [_encode_call(item) for item in (*self._deferred(), call)]
            write_durably(self._place("deferred"), encode_fields(*encoded))

    def ask(self, call: Call, known: Known | None, record: Callable[[], None], riding: tuple[Call, ...] = ()) -> Answer:
        """Return the answer to a call, once it was carried out and back.

        Args:
            call: what to ask.
            known: the status that we were told last.
            record: writes down that the call leaves; called before a new file is in the outbox, never again for the same one.
            riding: calls that go before it in a new file, and are no reason for one.

        Raises:
            AwaitedAnswerError: says what is to be carried.
            UsageError: what lies in the answer's place is not the answer.
            StoreError: nothing could be written.
        """
        with self._locked():
            number, digest = self._request_for(call, known, record, riding)
        return self._collected(number, digest)

    def _request_for(
        self, call: Call, known: Known | None, record: Callable[[], None], riding: tuple[Call, ...]
    ) -> tuple[int, str]:
        """Return number and digest of the request that waits for this call's answer, its file in the outbox."""
        found, deferred = self._request(), self._deferred()
        waits = found is not None and self._kept_answer(*found) is None and found[0].calls[-1] == call
        if found is None or deferred or not waits:
            number = found[0].number + 1 if found else 1
            self._settle(None if found is None else self._kept_answer(*found))
            record()
            data = encode_request(Request(number, (*deferred, *riding, call), known), self.parties, self.signer)
            write_durably(self._place("request"), data)
            erase_if_there(self._place("deferred"))
            found = self._decoded(data)
        number = found[0].number
        self._put(number)
        return number, found[1]

    def _settle(self, answer: Answer | None) -> None:
        """Keep what an answer says for good, before another takes its place."""
        final = {reply.asked: reply for reply in answer.replies if reply.method in SUBMISSIONS} if answer else {}
        if final:
            kept = {**self.settled(), **final}
            write_durably(self._place("settled"), encode_fields(*map(_encode_reply, kept.values())))

    def _put(self, number: int) -> None:
        """Write the newest request into the outbox; harmless if it is there, or was carried away before."""
        write_durably(self.exchange / OUTBOX / request_name(self.parties, number), self._place("request").read_bytes())
        (self.exchange / INBOX).mkdir(exist_ok=True)

    def _collected(self, number: int, digest: str) -> Answer:
        place, told = self.exchange / INBOX / answer_name(self.parties, number), False
        while not place.exists():
            words = self._awaited(number)
            if not self.wait:
                raise AwaitedAnswerError(words)
            if not told:
                self.say(words)
            told = True
            self.pause(POLL_SECONDS)
        data = read_carried(place)
        try:
            answer = decode_answer(data, self.parties, self.relay)
        except (FormatError, SignatureError) as error:
            raise UsageError(f"{place}: not from our relay as it was made: {error}; {_AGAIN}") from error
        if (answer.number, answer.request) != (number, digest):
            raise UsageError(
                f"{place}: is the answer to request {answer.number}, not to the request {number} that waits; {_AGAIN}"
            )
        with self._locked():
            write_durably(self._place("answer"), data)
        (self.exchange / OUTBOX / request_name(self.parties, number)).unlink(missing_ok=True)
        return answer

    def _awaited(self, number: int) -> str:
        folder = self.exchange / INBOX
        ours = {answer_name(self.parties, old) for old in range(1, number)}
        found = (item.name for item in folder.iterdir()) if folder.is_dir() else ()
        strange = sorted(name for name in found if name not in ours and not name.endswith(OFFER))
        listed = ", ".join(strange[:_NAMED]) + (", …" if len(strange) > _NAMED else "")
        others = f" (what lies there is not awaited: {listed})" if strange else ""
        return (
            f"carry {self.exchange / OUTBOX / request_name(self.parties, number)} to the relay, and bring back "
            f"{folder / answer_name(self.parties, number)}{others}{'' if self.wait else '; then run the same command again'}"
        )

    def _request(self) -> tuple[Request, str] | None:
        place = self._place("request")
        return self._decoded(_read(place)) if place.exists() else None

    def _decoded(self, data: bytes) -> tuple[Request, str]:
        try:
            return decode_request(data, self.parties, self.signer.public_key)
        except (FormatError, SignatureError) as error:
            raise StoreError(f"{self._place('request')}: is damaged ({error}); restore it from a backup") from error

    def _kept_answer(self, request: Request, digest: str) -> Answer | None:
        place = self._place("answer")
        if not place.exists():
            return None
        try:
            answer = decode_answer(_read(place), self.parties, self.relay)
        except (FormatError, SignatureError) as error:
            raise StoreError(f"{place}: is damaged ({error}); remove it and carry the answer again") from error
        return answer if (answer.number, answer.request) == (request.number, digest) else None

    def _deferred(self) -> tuple[Call, ...]:
        place = self._place("deferred")
        if not place.exists():
            return ()
        try:
            return tuple(map(_decode_call, decode_fields(_read(place))))
        except FormatError as error:
            raise StoreError(f"{place}: is damaged ({error}); restore it from a backup") from error

    def _place(self, name: str) -> Path:
        return self.state / name

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time number requests."""
        make_folder(self.state)
        descriptor = os.open(self._place("lock"), os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


_AGAIN: Final = "remove it and carry the answer again; nothing is lost"


def waiting(state: Path) -> int | None:
    """Return the number of the request whose answer has not come yet, or None; unverified, to be shown."""
    numbers = [_number_in(state / name) for name in ("request", "answer")]
    return None if numbers[0] is None or numbers[0] == numbers[1] else numbers[0]


def _number_in(place: Path) -> int | None:
    if not place.exists():
        return None
    try:
        found = json.loads(Envelope.from_json(_read(place).partition(b"\n")[0]).payload)["number"]
    except (FormatError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None


def request_name(parties: Parties, number: int) -> str:
    """Return the name of a request's file."""
    return f"{parties.institution}-{number:06}.request"


def answer_name(parties: Parties, number: int) -> str:
    """Return the name of an answer's file."""
    return f"{parties.institution}-{number:06}.answer"


def read_carried(place: Path) -> bytes:
    """Return the bytes of a file that was carried.

    Raises:
        UsageError: it cannot be read, or is larger than such files are.
    """
    try:
        if place.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{place}: is larger than any file that is carried; remove it")
        return place.read_bytes()
    except OSError as error:
        raise UsageError(f"{place}: cannot be read ({error.strerror}); carry it again") from error


def erase_if_there(place: Path) -> None:
    """Remove a file, overwritten, if there is one."""
    if place.exists():
        erase(place)


def _read(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError as error:
        raise StoreError(f"{place}: cannot be read ({error.strerror})") from error


def _encode_reply(reply: Reply) -> bytes:
    refused = reply.refusal
    words = () if refused is None else (refused.code.encode(), refused.words.encode(), refused.details)
    return encode_fields(
        reply.method.encode(), reply.asked.encode(), encode_fields(*reply.parts), encode_fields(*words)
    )


def _decode_reply(data: bytes) -> Reply:
    method, asked, parts, words = decode_fields(data, 4)
    refused = decode_fields(words)
    refusal = Refusal(refused[0].decode(), refused[1].decode(), refused[2]) if refused else None
    return Reply(method.decode(), asked.decode(), decode_fields(parts), refusal)


def _encode_call(call: Call) -> bytes:
    return encode_fields(call.method.encode(), *call.parts)


def _decode_call(data: bytes) -> Call:
    method, *parts = decode_fields(data)
    return Call(method.decode(), tuple(parts))
