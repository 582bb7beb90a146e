"""What an operator reads of a running coordinator: the documented names and no others, and nothing of anybody's own."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.playing import STEPS, play
from testkit.refusals import reason_of
from testkit.small_specs import small_spec
from vdb_coordinator.config import render_config
from vdb_coordinator.events import Event
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import AdminServiceStub
from vdb_shared.wire.status import Phase

DOCUMENT = Path(__file__).parents[2] / "protos" / "README.md"
SUFFIXES = ("_bucket", "_sum", "_count")
METHODS = {
    f"{service.name}/{method.name}" for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods
} | {"Health/Check", "Health/Watch", "Health/List"}
ALLOWED = {
    "method": METHODS,
    "code": {code.name for code in grpc.StatusCode},
    "reason": {value for name, value in vars(reasons).items() if name.isupper()},
    "kind": {kind.__name__ for kind in get_args(Event)},
    "phase": {phase.words.replace(" ", "_") for phase in Phase},
}


def documented() -> dict[str, set[str]]:
    """Return the names of §11.8 with their labels."""
    section = DOCUMENT.read_text().split("### 11.8 ")[1].split("\n### ")[0]
    found = {}
    for line in section.splitlines():
        cells = line.split("|")
        if line.startswith("| `"):
            for name in re.findall(r"`([a-z_]+)`", cells[1]):
                found[name] = set(re.findall(r"`([a-z_]+)`", cells[3]))
    return found


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningCoordinator, str]]:
    """Yield a coordinator after a published session and a refused call, and what it shows."""
    path = tmp_path_factory.mktemp("metrics")
    with running_coordinator(path) as coordinator:
        config = coordinator.home.read_config()
        text = render_config(config) + 'metrics_listen = "127.0.0.1:0"\n'
        coordinator.home.config_file.write_text(text)
        coordinator.restart()
        for number in range(4):
            coordinator.enrol(f"site-{number}")
        spec = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
        session = coordinator.admin.create_session(spec)
        coordinator.admin.create_session(spec)
        with ExitStack() as stack:
            members = [stack.enter_context(TestMember(coordinator, each, session)) for each in coordinator.identities]
            play(members, *STEPS)
            members[0].wait(Phase.PUBLISHED)
        with coordinator.channel(coordinator.identities[0]) as channel, pytest.raises(grpc.RpcError) as refused:
            AdminServiceStub(channel).CreateSession(pb.CreateSessionRequest(), timeout=CALL)
        assert reason_of(refused.value) == reasons.NOT_A_MEMBER
        yield coordinator, counted(coordinator, "vdb_refusals_total{")


def counted(coordinator: RunningCoordinator, sample: str) -> str:
    """Return what is shown once a sample is there: a call is counted when it has ended, just after its caller was answered."""
    for _ in range(100):
        if sample in (shown := get(coordinator, "/metrics")):
            break
        time.sleep(0.1)
    return shown


def get(coordinator: RunningCoordinator, path: str) -> str:
    said = next(line for line in coordinator.log.getvalue().splitlines()[::-1] if "serving metrics" in line)
    port = re.search(r"127\.0\.0\.1:(\d+)", said)
    assert port is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}{path}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def test_every_documented_name_is_there_and_no_other(scraped: tuple[RunningCoordinator, str]) -> None:
    names, labels = set(), {}
    for family in text_string_to_metric_families(scraped[1]):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if name.endswith("_created"):
            continue
        names.add(name)
        assert family.samples, f"{name} has no value"
        labels[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    assert names == documented().keys()
    assert labels == documented()


def test_labels_have_only_words_of_the_program(scraped: tuple[RunningCoordinator, str]) -> None:
    for family in text_string_to_metric_families(scraped[1]):
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label not in ("le", "version"):
                    assert value in ALLOWED[label], (sample.name, value)


def test_nothing_of_an_institution_or_a_session_is_shown(scraped: tuple[RunningCoordinator, str]) -> None:
    coordinator, text = scraped
    assert "site-" not in text
    assert "sha256" not in text
    assert coordinator.root_fingerprint not in text


def test_the_figures_are_those_of_what_happened(scraped: tuple[RunningCoordinator, str]) -> None:
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(scraped[1])
        for sample in family.samples
    }
    assert found["vdb_events_total", "SessionOpened"] == 2
    assert found["vdb_events_total", "InputReceived"] == 4
    assert found["vdb_events_total", "SessionPublished"] == 1
    assert found["vdb_event_seconds_count",] == sum(v for key, v in found.items() if key[0] == "vdb_events_total")
    assert found["vdb_calls_total", "OK", "SessionService/Join"] == 4
    assert found["vdb_calls_total", "AdminService/CreateSession", "PERMISSION_DENIED"] == 1
    assert found["vdb_refusals_total", reasons.NOT_A_MEMBER] == 1
    assert found["vdb_sessions", "accepting"] == 1
    assert found["vdb_participants",] == 4
    assert found["vdb_storage_writable",] == 1
    assert found["vdb_storage_failures_total",] == 0
    assert found["vdb_log_entries",] >= 3
    assert found["vdb_uploaded_bytes_total",] > 0


def test_nothing_else_is_served(scraped: tuple[RunningCoordinator, str]) -> None:
    for path in ("/", "/metrics/", "/../coordinator.toml", "/metrics?name=vdb_build"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(scraped[0], path)


def test_it_is_off_unless_configured(tmp_path: Path) -> None:
    with running_coordinator(tmp_path) as coordinator:
        assert coordinator.home.read_config().metrics_listen is None
        assert "serving metrics" not in coordinator.log.getvalue()
