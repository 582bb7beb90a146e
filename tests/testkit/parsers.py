"""Every parser that an auditor runs on bytes from strangers, with what it may raise and what it must give back.

Promises nothing about what is accepted but that it is written back as the very bytes, where there is a writer: that is what
makes a signature mean one thing. A parser that is added to the verifier is added here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from testkit.opened_lines import Story, kept_list
from testkit.time_authority import Authority
from vdb_shared.audit.policy import parse_policy
from vdb_shared.audit.verify import verify
from vdb_shared.bundle import statement
from vdb_shared.bundle.archive import read_archive, write_archive
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import encode_record, parse_record
from vdb_shared.bundle.objections import Objection, Withdrawal
from vdb_shared.bundle.record import decode_transcript, encode_transcript
from vdb_shared.bundle.restarts import decode_restarts, encode_restarts
from vdb_shared.bundle.sample_choice import SampleChoice, parse_choice
from vdb_shared.bundle.sample_file import read_samples
from vdb_shared.bundle.samples import SampleLine, parse_line
from vdb_shared.bundle.statement import Statement, parse_statement
from vdb_shared.canonical import (
    canonical_json,
    decimal_string,
    decode_base64,
    decode_fields,
    encode_base64,
    encode_fields,
    parse_canonical_json,
    parse_decimal,
)
from vdb_shared.errors import FormatError, IdentityError, SignatureError, SpecError, UsageError, VdbError
from vdb_shared.roster import SignedRoster, parse_roster
from vdb_shared.secagg.field import decode_scalars, encode_scalars
from vdb_shared.secagg.messages import (
    AdvertisedKeys,
    Complaint,
    ConsistencyStatement,
    MaskedInputHeader,
    SharedKeysHeader,
    UnmaskingShares,
)
from vdb_shared.spec import parse_spec_json, parse_spec_toml
from vdb_shared.transparency.checkpoint import parse_checkpoint
from vdb_shared.transparency.note import parse_key, parse_note
from vdb_shared.transparency.proof import parse_proof
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, TiledLog, decode_entries, encode_entries
from vdb_shared.transparency.time_stamps import read_roots, read_time_stamp


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser of hostile bytes.

    Attributes:
        parse: returns a value, or raises one of `declared`.
        declared: its errors, as its docstring says.
        write: gives the bytes of a value back; None where several spellings are allowed.
    """

    parse: Callable[[bytes], Any]
    declared: tuple[type[VdbError], ...] = (FormatError,)
    write: Callable[[Any], bytes] | None = None

    def problem(self, data: bytes) -> str:
        """Return what is wrong with the parser's answer to these bytes, or ""."""
        try:
            value = self.parse(data)
        except self.declared:
            return ""
        except Exception as error:  # any other is what is looked for
            return f"raises {type(error).__name__}: {error}"[:300]
        if self.write is not None and self.write(value) != data:
            return "accepts bytes that it would not write"
        return ""


def _text(data: bytes) -> str:
    """Return a text for parsers of texts; every text has some bytes."""
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _of_text(parse: Callable[[str], Any], write: Callable[[Any], str] | None = None) -> Parser:
    return Parser(lambda data: parse(_text(data)), write=None if write is None else lambda value: _bytes(write(value)))


def _body(kind: type[Any]) -> Parser:
    return Parser(kind.decode, write=kind.encode)


def _statement(kind: type[statement.Predicate]) -> Parser:
    return Parser(lambda data: parse_statement(data, kind), write=lambda found: Statement(found[1], found[0]).encode())


def _signed_roster(data: bytes) -> object:
    """Read root, targets and roster, each behind its length; the root on its own word, as an auditor without a pin does."""
    root, targets, roster = decode_fields(data, 3)
    return SignedRoster((root,), targets, roster).verify(None, None)


def _log(data: bytes) -> list[bytes]:
    """Read a log from its files, names and contents in turn, of which the first is the text of a checkpoint."""
    fields = decode_fields(data)
    files = dict(zip(fields[0::2], fields[1::2], strict=False))

    def fetch(path: str) -> bytes:
        if path.encode() not in files:
            raise FormatError(f"{path} is missing")
        return files[path.encode()]

    return list(TiledLog(parse_checkpoint(_text(fetch(CHECKPOINT_PATH))), fetch).entries())


STAMPED: Final = b"a checkpoint"
"""What the time stamps are on."""


@cache
def time_authority() -> Authority:
    """Return the authority whose time stamps are read."""
    return Authority()


@cache
def _story() -> Story:
    return Story(kept_list())


STATEMENTS: Final[Mapping[str, type[statement.Predicate]]] = {
    kind.kind: kind
    for kind in (
        statement.SessionOpen,
        statement.Join,
        statement.Seal,
        statement.Contribution,
        statement.Result,
        statement.Abort,
        Objection,
        Withdrawal,
    )
}

PARSERS: Final[Mapping[str, Parser]] = {
    "bundle": Parser(verify),
    "archive": Parser(read_archive, write=write_archive),
    "canonical-json": Parser(parse_canonical_json, write=canonical_json),
    "envelope": Parser(Envelope.from_json, write=Envelope.to_json),
    **{f"statement-{name}": _statement(kind) for name, kind in STATEMENTS.items()},
    "transcript": Parser(decode_transcript, write=lambda rounds: encode_transcript(*rounds)),
    "restarts": Parser(decode_restarts, write=encode_restarts),
    "body-advertised-keys": _body(AdvertisedKeys),
    "body-shared-keys": _body(SharedKeysHeader),
    "body-masked-input": _body(MaskedInputHeader),
    "body-complaint": _body(Complaint),
    "body-consistency": _body(ConsistencyStatement),
    "body-unmasking": _body(UnmaskingShares),
    "fields": Parser(decode_fields, write=lambda fields: encode_fields(*fields)),
    "scalars": Parser(decode_scalars, write=encode_scalars),
    "roster": Parser(parse_roster, write=lambda roster: roster.canonical()),
    "signed-roster": Parser(_signed_roster, declared=(FormatError, IdentityError)),
    "spec-json": Parser(parse_spec_json, declared=(SpecError,), write=lambda spec: spec.canonical()),
    "spec-toml": Parser(lambda data: parse_spec_toml(_text(data)), declared=(SpecError,)),
    "policy": Parser(parse_policy, declared=(UsageError,)),
    "decimal": _of_text(parse_decimal, decimal_string),
    "base64": _of_text(decode_base64, encode_base64),
    "note": Parser(parse_note, write=lambda note: note.to_bytes()),
    "note-key": _of_text(parse_key, str),
    "checkpoint": _of_text(parse_checkpoint, lambda checkpoint: checkpoint.text),
    "proof": Parser(parse_proof, write=lambda proof: proof.to_bytes()),
    "log-entries": Parser(decode_entries, write=encode_entries),
    "log": Parser(_log),
    "log-record": Parser(parse_record, write=encode_record),
    "time-stamp": Parser(
        lambda data: read_time_stamp(data, STAMPED, (time_authority().root,)),
        declared=(FormatError, SignatureError, UsageError),
    ),
    "tsa-roots": Parser(read_roots),
    "samples-line": Parser(parse_line, write=SampleLine.encode),
    "samples-choice": Parser(parse_choice, write=SampleChoice.encode),
    "samples-file": Parser(read_samples),
    "samples-check": Parser(lambda data: _story().check(data), declared=()),
}
