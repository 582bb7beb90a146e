"""The egress journal is the only way out: no module goes round it, and everything that can leave has a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor

import vdb_participant
from vdb_participant.session.departures import UNKNOWN, reason
from vdb_shared.wire import federation_pb2 as pb

MAY_SPEAK = {
    "network/connection.py": {"grpc"},
    "network/recording.py": {"grpc"},
    "network/calls.py": {"grpc"},
    "offline/channel.py": {"grpc"},
    "offline/relay.py": {"grpc"},
    "network/client.py": {"grpc"},
    "network/answers.py": {"grpc"},
    "network/diagnosis.py": {"socket", "ssl"},
    "network/presented.py": {"socket", "ssl"},
    "network/proxy.py": {"urllib"},
    # Towards a server with a copy of the log that the operator named; each request is in the journal before it leaves:
    "session/log_copy.py": {"urllib"},
    # Only take addresses apart, to hold them against the site's policy and to name them in the plan:
    "site/policy.py": {"urllib"},
    "session/preparation.py": {"urllib"},
    # Towards the institution's own machines, and models that its own registry names:
    "generation/cluster.py": {"grpc", "socket"},
    "generation/parallel.py": {"socket"},
    "generation/external.py": {"urllib", "http"},
    "commands/models.py": {"huggingface_hub"},
    "measure/extractors/loading.py": {"huggingface_hub"},
    "remote_code.py": {"huggingface_hub"},  # tells it to speak to nobody
    # Between processes of this machine, over socket pairs:
    "data/decoding/decoder.py": {"socket"},
    "data/decoding/process.py": {"socket"},
    "data/decoding/program.py": {"socket"},
    "data/decoding/reading.py": {"socket"},
}
NETWORKS = {
    "grpc",
    "socket",
    "ssl",
    "http",
    "urllib",
    "requests",
    "httpx",
    "aiohttp",
    "ray",
    "huggingface_hub",
    "smtplib",
    "ftplib",
}


def test_nobody_else_speaks_to_the_network() -> None:
    """A new module that opens a connection has to be looked at here: does what it sends pass the journal?"""
    root = Path(vdb_participant.__file__).parent
    found = {
        str(path.relative_to(root)): imported
        for path in sorted(root.rglob("*.py"))
        if (imported := _imports(ast.parse(path.read_text(encoding="utf-8"))) & NETWORKS)
    }
    assert found == MAY_SPEAK


def test_files_of_a_log_are_asked_for_in_one_place() -> None:
    """What is shared with auditors downloads without a journal; only who writes one first may use it."""
    root = Path(vdb_participant.__file__).parent
    readers = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"log_files|limited_http", path.read_text(encoding="utf-8"))
    ]
    assert readers == ["session/log_copy.py"]


def test_channels_are_made_in_one_place() -> None:
    root = Path(vdb_participant.__file__).parent
    makers = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "secure_channel(" in path.read_text(encoding="utf-8")
    ]
    assert sorted(makers) == ["generation/cluster.py", "network/connection.py"], (
        "the first asks a Ray cluster who it is"
    )


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def _runs_of_bytes(message: Descriptor, prefix: str = "") -> Iterator[str]:
    for one in message.fields:
        if one.message_type is not None:
            yield from _runs_of_bytes(one.message_type, f"{prefix}{one.name}.")
        elif one.type == FieldDescriptor.TYPE_BYTES:
            yield f"{prefix}{one.name}"


def test_everything_that_can_leave_has_a_reason() -> None:
    """A new RPC, or new bytes in one, has to say here why no bundle has them."""
    services = pb.DESCRIPTOR.services_by_name
    assert set(services) >= {"EnrolmentService", "SessionService", "LogService", "AggregationService", "AdminService"}
    for name, service in services.items():
        for method in service.methods if name != "AdminService" else ():
            kinds = [f"{method.name} {path}" for path in _runs_of_bytes(method.input_type)] or [method.name]
            assert [kind for kind in kinds if reason(kind) == UNKNOWN] == []
