"""Files that are carried: whole, signed by the expected key for their purpose, of the expected site; no other is taken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from testkit.recorded import Recorded
from vdb_participant.network.client import Client
from vdb_participant.offline.channel import Carriage
from vdb_participant.offline.files import (
    Answer,
    Call,
    Known,
    Parties,
    Refusal,
    Reply,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from vdb_participant.offline.mailbox import Mailbox, answer_name, waiting
from vdb_shared.errors import (
    AwaitedAnswerError,
    FormatError,
    SessionAbortedError,
    SignatureError,
    StoreError,
    UsageError,
    VdbError,
)
from vdb_shared.identity import StatementKey
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import Phase

SITE, RELAY, STRANGER = (StatementKey.from_seed(bytes([number]) * 32) for number in range(3))
PARTIES = Parties("testbed", "hospital")
LIST = "/vdb.v1.SessionService/ListSessions"
WATCH = "/vdb.v1.SessionService/WatchSession"
CALL = Call(LIST, (b"abc", b""))
REQUEST = Request(3, (Call("/vdb.v1.LogService/Cosign", (b"x" * 9,)), CALL), Known(0, 2, 7))
ANSWER = Answer(
    3,
    "sha256:" + "0" * 64,
    (
        Reply(LIST, CALL.digest, (b"one", b"two")),
        Reply(LIST, CALL.digest, (), Refusal("FAILED_PRECONDITION", "words", b"\0")),
    ),
)
BOXES = ("request", "answer")


def encoded(box: str, signer: StatementKey | None = None, parties: Parties = PARTIES) -> bytes:
    if box == "request":
        return encode_request(REQUEST, parties, signer or SITE)
    return encode_answer(ANSWER, parties, signer or RELAY)


def decoded(box: str, data: bytes) -> object:
    if box == "request":
        return decode_request(data, PARTIES, SITE.public_key)[0]
    return decode_answer(data, PARTIES, RELAY.public_key)


@pytest.mark.parametrize("box", BOXES)
def test_what_was_written_is_read_back(box: str) -> None:
    assert decoded(box, encoded(box)) == {"request": REQUEST, "answer": ANSWER}[box]


@pytest.mark.parametrize("box", BOXES)
def test_no_byte_can_be_changed_added_or_cut_off(box: str) -> None:
    data = encoded(box)
    changes = [data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in range(len(data))]
    cuts = [data[:length] for length in range(len(data))]
    for changed in (*changes, *cuts, data + b"\0", b"\n" + data):
        with pytest.raises((FormatError, SignatureError)):
            decoded(box, changed)


@pytest.mark.parametrize("box", BOXES)
def test_other_keys_sites_and_purposes_are_refused(box: str) -> None:
    with pytest.raises(SignatureError):
        decoded(box, encoded(box, STRANGER))
    for other in (Parties("testbed", "clinic"), Parties("other", "hospital")):
        with pytest.raises(FormatError, match=r"expected hospital in testbed"):
            decoded(box, encoded(box, parties=other))
    with pytest.raises(SignatureError, match="expected a payload of type"):
        decoded(box, encoded("answer" if box == "request" else "request"))


@dataclass
class Desk:
    """A site's mailbox and, in the relay's place, whoever writes into its inbox."""

    path: Path
    relay: StatementKey = RELAY
    egress: Recorded = field(default_factory=Recorded)

    def client(self) -> Client:
        """Return the site's client, as a fresh process has it."""
        box = Mailbox(self.path / "state", self.path / "stick", PARTIES, SITE, self.relay.public_key)
        return Client(Carriage("127.0.0.1:1", box, self.egress))

    def outbox(self) -> list[Path]:
        return sorted((self.path / "stick" / "outbox").iterdir())

    def request(self) -> tuple[Request, str]:
        return decode_request(self.outbox()[-1].read_bytes(), PARTIES, SITE.public_key)

    def place(self, number: int) -> Path:
        return self.path / "stick" / "inbox" / answer_name(PARTIES, number)

    def reply(self, *more: Reply, signer: StatementKey = RELAY, refusal: Refusal | None = None) -> Path:
        """Answer the newest request with an empty list of sessions, and what was brought besides."""
        request, digest = self.request()
        asked = request.calls[-1]
        parts = () if refusal else (pb.ListSessionsResponse().SerializeToString(),)
        answer = Answer(request.number, digest, (Reply(asked.method, asked.digest, parts, refusal), *more))
        self.place(request.number).write_bytes(encode_answer(answer, PARTIES, signer))
        return self.place(request.number)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def ask(desk: Desk) -> None:
    """Ask for the sessions; what is awaited is carried."""
    with pytest.raises(AwaitedAnswerError, match=r"carry .*outbox.* to the relay, and bring back .*inbox"):
        desk.client().sessions()


def test_asking_again_after_a_crash_gives_the_same_file_and_leaves_once(desk: Desk) -> None:
    ask(desk)
    (first,) = desk.outbox()
    data = first.read_bytes()
    assert waiting(desk.path / "state") == 1
    first.unlink()  # it was carried away
    ask(desk)
    assert [place.read_bytes() for place in desk.outbox()] == [data]
    assert len(desk.egress.departures) == 1
    desk.reply()
    assert desk.client().sessions() == ()
    assert desk.outbox() == []
    assert waiting(desk.path / "state") is None
    assert desk.client().sessions() == (), "the answer that is here already"
    assert len(desk.egress.departures) == 1


def test_an_answer_that_is_not_the_relays_is_refused_and_taken_where_its_key_is_trusted(
    desk: Desk, tmp_path: Path
) -> None:
    ask(desk)
    desk.reply(signer=STRANGER)
    with pytest.raises(UsageError, match=r"not from our relay as it was made.*carry the answer again; nothing is lost"):
        desk.client().sessions()
    assert replace(desk, relay=STRANGER).client().sessions() == ()


def test_a_replayed_answer_under_the_next_ones_name_is_refused(desk: Desk) -> None:
    ask(desk)
    old = desk.reply().read_bytes()
    client = desk.client()
    client.sessions()
    with pytest.raises(AwaitedAnswerError):
        client.sessions()
    desk.place(2).write_bytes(old)
    with pytest.raises(UsageError, match="is the answer to request 1, not to the request 2 that waits"):
        client.sessions()
    desk.place(2).write_bytes(old[:-1])
    with pytest.raises(UsageError, match="not from our relay"):
        client.sessions()
    desk.reply()
    assert client.sessions() == ()


def test_an_answer_to_another_request_of_the_same_number_is_refused(desk: Desk, tmp_path: Path) -> None:
    """The site's folder was put back from a backup, and asks something else under a number that was used."""
    ask(desk)
    other = Desk(tmp_path / "other")
    with pytest.raises(AwaitedAnswerError):
        other.client().details("4f2a")
    desk.place(1).write_bytes(other.reply().read_bytes())
    with pytest.raises(UsageError, match="is the answer to request 1, not to the request 1 that waits"):
        desk.client().sessions()


def test_strange_files_are_named_and_left_alone(desk: Desk) -> None:
    ask(desk)
    inbox = desk.place(1).parent
    (inbox / "clinic-000001.answer").write_bytes(b"")
    (inbox / "readme.txt").write_bytes(b"")
    with pytest.raises(AwaitedAnswerError, match=r"not awaited: clinic-000001.answer, readme.txt"):
        desk.client().sessions()
    assert len(list(inbox.iterdir())) == 2


def test_a_refusal_is_the_coordinators_in_its_words(desk: Desk) -> None:
    ask(desk)
    desk.reply(refusal=Refusal("FAILED_PRECONDITION", "no more of this", b""))
    with pytest.raises(VdbError, match="no more of this"):
        desk.client().sessions()


def status(phase: Phase) -> bytes:
    message = pb.SessionStatus(phase=pb.Phase.ValueType(int(phase)), event=1)
    return pb.WatchSessionResponse(status=message).SerializeToString()


def test_a_status_that_was_brought_is_believed_until_it_is_not_enough(desk: Desk) -> None:
    ask(desk)
    watch = Call(WATCH, (pb.WatchSessionRequest(session="s").SerializeToString(),))
    desk.reply(Reply(WATCH, watch.digest, (status(Phase.SHARING_KEYS),)))
    client = desk.client()
    client.sessions()
    assert client.wait("s", Phase.ADVERTISING_KEYS).phase is Phase.SHARING_KEYS
    assert client.wait("s", Phase.SHARING_KEYS).phase is Phase.SHARING_KEYS
    with pytest.raises(AwaitedAnswerError):
        client.wait("s", Phase.MASKING_INPUT)
    assert desk.request()[0].known == Known(0, int(Phase.SHARING_KEYS), 0)


def test_reports_of_progress_are_no_files(desk: Desk) -> None:
    desk.client().report("s", "generating", 1, 2)
    assert not desk.egress.departures
    assert not (desk.path / "stick").exists()


def test_a_witness_signature_goes_with_the_next_request(desk: Desk) -> None:
    client = desk.client()
    client.cosign("s", 5, bytes(72))
    assert not (desk.path / "stick").exists()
    with pytest.raises(AwaitedAnswerError):
        client.abort("s", b"statement")
    assert [call.method.rpartition("/")[2] for call in desk.request()[0].calls] == ["Cosign", "Abort"]
    assert [left.what.rpartition("/")[2] for left in desk.egress.departures] == ["Cosign", "Abort"]


def test_a_submission_that_was_refused_for_good_is_not_carried_again(desk: Desk) -> None:
    with pytest.raises(AwaitedAnswerError):
        desk.client().abort("s", b"statement")
    details = _error_info("VDB_ABORTED")
    desk.reply(refusal=Refusal("FAILED_PRECONDITION", "the session was aborted", details))
    for _ in range(2):
        with pytest.raises(SessionAbortedError, match="the session was aborted"):
            desk.client().abort("s", b"statement")
        with pytest.raises(AwaitedAnswerError):
            desk.client().sessions()
    assert desk.request()[0].number == 2


def _error_info(reason: str) -> bytes:
    detail = Any()
    detail.Pack(ErrorInfo(reason=reason, domain="vdb"))
    return bytes(Status(details=[detail]).SerializeToString())


def test_damage_of_what_was_kept_is_told(desk: Desk) -> None:
    ask(desk)
    place = desk.path / "state" / "request"
    place.write_bytes(place.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match="is damaged"):
        desk.client().sessions()
