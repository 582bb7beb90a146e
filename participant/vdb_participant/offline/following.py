"""What a relay waits for after a call, and what the site is likely to ask next.

Promises nothing but fewer ways on foot: what is missing here costs the site one more request, what is too much is never
looked at. Only answers to questions are brought before they are asked for; nothing is submitted that the site did not send.
Pure.

Source: protos/README.md §11.3, §12.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from vdb_participant.offline.channel import WATCH
from vdb_participant.offline.files import Call, Known, Reply
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import RESULT_PROOF
from vdb_shared.errors import FormatError
from vdb_shared.transparency.note import parse_note
from vdb_shared.transparency.proof import parse_proof
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import Phase

_PACKAGE: Final = "/vdb.v1."
SESSIONS: Final = "/vdb.v1.SessionService/"
ROUNDS: Final = "/vdb.v1.AggregationService/"
LOG: Final = "/vdb.v1.LogService/"
UPLOAD: Final = f"{ROUNDS}UploadMaskedInput"
BUNDLE: Final = f"{SESSIONS}GetBundle"
SEAL: Final = f"{SESSIONS}GetSeal"

Enough = Callable[[Known], bool]
"""Whether a status is what the site waits for."""

_NEXT: Final[Mapping[str, Phase]] = {
    f"{ROUNDS}AdvertiseKeys": Phase.SHARING_KEYS,
    f"{ROUNDS}ShareKeys": Phase.MASKING_INPUT,
    UPLOAD: Phase.CONSISTENCY,
    f"{ROUNDS}SignConsistency": Phase.UNMASKING,
    f"{ROUNDS}RevealShares": Phase.FINALISING,
}
"""The phase that follows a submission of the rounds."""

_FETCHED: Final[Mapping[Phase, tuple[str, type[Any]]]] = {
    Phase.SHARING_KEYS: (f"{ROUNDS}GetAdvertisedKeys", pb.GetAdvertisedKeysRequest),
    Phase.MASKING_INPUT: (f"{ROUNDS}GetSharedKeys", pb.GetSharedKeysRequest),
    Phase.CONSISTENCY: (f"{ROUNDS}GetMaskedInputs", pb.GetMaskedInputsRequest),
    Phase.UNMASKING: (f"{ROUNDS}GetConsistency", pb.GetConsistencyRequest),
}
"""What a site asks for in each phase of the rounds."""


def awaited(call: Call, known: Known | None, cosigned: int) -> Enough | None:
    """Return what status ends the wait after a call, or None if nothing is to be waited for.

    Args:
        call: the last of a request.
        known: the status that the site was told last.
        cosigned: size of the log that the site has witnessed.
    """
    if call.method == WATCH:
        return lambda status: known is None or status != known
    if call.method == f"{SESSIONS}Join":
        return lambda status: status.phase >= Phase.ADVERTISING_KEYS or status.witness > cosigned
    if call.method == f"{SESSIONS}Countersign":
        return lambda status: status.phase >= Phase.PUBLISHED or status.witness > cosigned
    if call.method == f"{ROUNDS}Complain":
        attempt = attempt_of(call)
        return lambda status: status.attempt > attempt
    if call.method in _NEXT:
        goal = (attempt_of(call), int(_NEXT[call.method]))
        return lambda status: (status.attempt, status.phase) >= goal
    return None


def followed(session: str, status: Known, cosigned: int) -> Iterator[Call]:
    """Yield what a site asks for next when it is told a status.

    Args:
        session: session id.
        status: what it is told.
        cosigned: size of the log that it has witnessed.
    """
    if status.witness > cosigned:
        yield checkpoint(session, cosigned)
    elif status.phase == Phase.ADVERTISING_KEYS:
        if status.attempt:
            yield _call(f"{ROUNDS}GetRestarts", pb.GetRestartsRequest(session=session))
        else:
            yield _call(SEAL, pb.GetSealRequest(session=session))
    elif status.phase in _FETCHED:
        method, request = _FETCHED[Phase(status.phase)]
        yield _call(method, request(session=session, attempt=status.attempt))
    elif status.phase in (Phase.FINALISING, Phase.PUBLISHED):
        yield _call(BUNDLE, pb.GetBundleRequest(session=session))


def compared(reply: Reply, session: str, cosigned: int) -> Iterator[Call]:
    """Yield what a site asks of the log to compare a proof that it was shown with what it has seen."""
    note = _note_in(reply)
    if note is not None:
        yield checkpoint(session, _size(note))
        yield checkpoint(session, cosigned)


def checkpoint(session: str, size: int) -> Call:
    """Return the question for the newest log."""
    return _call(f"{LOG}GetCheckpoint", pb.GetCheckpointRequest(session=session, size=size))


def watch(session: str) -> Call:
    """Return the question for a session's status."""
    return _call(WATCH, pb.WatchSessionRequest(session=session))


def attempt_of(call: Call) -> int:
    """Return the attempt that a submission of the rounds belongs to."""
    message = message_of(call.method, call.parts[0])
    return int(message.start.attempt if call.method == UPLOAD else message.attempt)


def method_descriptor(method: str) -> MethodDescriptor:
    """Return what the schema says of an RPC.

    Raises:
        FormatError: it has none of this name.
    """
    service, _, name = method.removeprefix(_PACKAGE).partition("/")
    found = pb.DESCRIPTOR.services_by_name.get(service)
    described = found.methods_by_name.get(name) if found else None
    if described is None:
        raise FormatError(f"{method}: no such call")
    return described


def message_of(method: str, data: bytes) -> Any:
    """Return the message that is one part of a call.

    Raises:
        FormatError: the bytes are none.
    """
    try:
        return GetMessageClass(method_descriptor(method).input_type).FromString(data)
    except DecodeError as error:
        raise FormatError(f"{method}: a message that is none") from error


def _call(method: str, message: Any) -> Call:
    return Call(method, (message.SerializeToString(),))


def _note_in(reply: Reply) -> bytes | None:
    """Return the note of the log in a reply that has a proof, or None."""
    if reply.refusal is not None or reply.method not in (SEAL, BUNDLE):
        return None
    try:
        if reply.method == SEAL:
            proof = pb.GetSealResponse.FromString(reply.parts[0]).open_proof
        else:
            data = b"".join(pb.GetBundleResponse.FromString(part).chunk for part in reply.parts)
            proof = read_archive(data).get(RESULT_PROOF, b"")
        return parse_proof(proof).checkpoint
    except FormatError:
        return None  # the site will say what is wrong with it


def _size(note: bytes) -> int:
    """Return the number of entries that a checkpoint speaks of, unverified; 0 if it says none."""
    try:
        return int(parse_note(note).text.split("\n")[1])
    except (FormatError, ValueError, IndexError):
        return 0
