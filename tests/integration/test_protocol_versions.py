"""Programs of other versions over real gRPC: they work, or are told in one line what to install, and lose nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.institutions import write_site
from testkit.refusals import reason_of, refused
from vdb_coordinator.config import ConfigFile, Home, render_config
from vdb_participant.agent import BREACHES
from vdb_participant.commands.connecting import examine_connection
from vdb_participant.network import answers
from vdb_participant.network.answers import refusal
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_shared.errors import UsageError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import federation_pb2_grpc, reasons
from vdb_shared.wire.federation_pb2_grpc import ProtocolServiceStub, SessionServiceStub
from vdb_shared.wire.versions import CURRENT, METADATA, OLDEST, Offer, Version


@pytest.fixture
def demanding(tmp_path: Path) -> Iterator[RunningCoordinator]:
    """Return a coordinator that wants the newest version, with one member."""
    with running_coordinator(tmp_path, institutions=1) as running:
        config = running.home.read_config().model_copy(update={"oldest_protocol": str(CURRENT)})
        running.home.config_file.write_text(
            render_config(config).replace("# oldest_protocol", "oldest_protocol").replace(str(OLDEST), str(CURRENT))
        )
        assert running.home.read_config() == config
        running.restart()
        yield running


def listing(channel: grpc.Channel, metadata: Any = None) -> Any:
    return SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL, metadata=metadata)


def test_a_program_of_before_is_told_what_to_do_and_leaves_no_session(
    demanding: RunningCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents of protocol 1.0 do not know the reason: with this code it must be no breach to them."""
    with demanding.channel(demanding.identities[0]) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            listing(channel)
        assert reason_of(caught.value) == reasons.VERSION
        assert "install a newer release of video-diffusion-bench" in str(caught.value.details())
        assert isinstance(refusal(caught.value), UsageError)
        old = {reason: kind for reason, kind in answers._KINDS.items() if reason != reasons.VERSION}
        monkeypatch.setattr(answers, "_KINDS", old)
        assert not isinstance(refusal(caught.value), BREACHES)
        assert list(listing(channel, METADATA).sessions) == []
        assert refused(lambda: listing(channel, (("vdb-protocol", "nonsense"),))) == reasons.INVALID


def test_our_own_programs_state_their_version(demanding: RunningCoordinator, tmp_path: Path) -> None:
    """The agent's calls, an institution's enrolment, and the lead's commands, streams too."""
    assert demanding.admin.sessions() == []
    assert demanding.admin.enrolments()
    site = write_site(tmp_path / "site", demanding.identities[0], demanding.address)
    connection = Connection(site.config.address, site.tls, site.egress, find_proxy=lambda host, port: None)
    with Client(connection) as client:
        assert client.sessions() == ()
        assert client.clocks() is not None
        assert connection.agreement().version == CURRENT
        assert connection.agreement().program.startswith("vdb-coordinator ")


@pytest.mark.parametrize(
    ("oldest", "newest", "words"),
    [
        (Version(1, 0), Version(1, 0), "speaks protocol 1.0, this coordinator wants 1.1 or newer"),
        (
            Version(2, 0),
            Version(2, 3),
            "speaks protocol 2.0 and newer, this coordinator 1.1 at most; ask the lead to update",
        ),
    ],
)
def test_nothing_in_common_is_said_with_the_remedy(
    demanding: RunningCoordinator, oldest: Version, newest: Version, words: str
) -> None:
    with demanding.channel(demanding.identities[0]) as channel, pytest.raises(grpc.RpcError) as caught:
        ProtocolServiceStub(channel).Negotiate(Offer(oldest, newest, frozenset()).to_wire(), timeout=CALL)
    assert reason_of(caught.value) == reasons.VERSION
    assert words in str(caught.value.details())


def test_a_program_of_tomorrow_gets_what_both_can(demanding: RunningCoordinator) -> None:
    offer = Offer(Version(1, 0), Version(3, 4), frozenset({"certificate-renewal", "of-tomorrow"}), "tomorrow 9")
    with demanding.channel(demanding.identities[0]) as channel:
        answer = ProtocolServiceStub(channel).Negotiate(offer.to_wire(), timeout=CALL)
    assert (answer.version.major, answer.version.minor) == (CURRENT.major, CURRENT.minor)
    assert list(answer.capabilities) == ["certificate-renewal"]


def test_an_agent_works_with_a_coordinator_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that serves what 1.0 had, and nothing else."""
    for service in ("Protocol", "Membership"):
        monkeypatch.setattr(
            federation_pb2_grpc, f"add_{service}ServiceServicer_to_server", lambda servicer, server: None
        )
    with running_coordinator(tmp_path, institutions=1) as coordinator:
        site = write_site(tmp_path / "site", coordinator.identities[0], coordinator.address)
        found = {item.subject: item for item in examine_connection(site.folder, bytes)}
    assert found["coordinator"].status.value == "PASS"
    assert found["protocol"].status.value == "WARN"
    assert "version 1.0 is spoken by both" in found["protocol"].words
    assert "renews no certificates" in found["protocol"].words


@pytest.mark.parametrize("text", ["0.9", "1.2", "2.0", "new", ""])
def test_a_configuration_cannot_want_what_this_program_does_not_speak(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    config = ConfigFile(
        version="vdb-coordinator/1", consortium="x", address="a:1", listen="a:1", admins=("spiffe://x/admin/lead",)
    )
    home.config_file.write_text(render_config(config) + f'oldest_protocol = "{text}"\n')
    with pytest.raises(UsageError, match="oldest_protocol"):
        home.read_config()
