"""A statement key that is not the one of the enrolment is told before anything is signed with it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import write_site
from vdb_participant.commands.connecting import examine_connection
from vdb_participant.site.institution import open_site
from vdb_participant.site.storage import write_private
from vdb_shared.errors import IdentityError
from vdb_shared.identity import StatementKey, is_encrypted

PASSPHRASE = b"correct horse"
CIPHERTEXT = 64
"""Bytes: 16 of the key's frame, 32 of the key, 16 of padding."""


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path_factory.mktemp("lead"), institutions=1) as running:
        yield running


def with_changed_byte(pem: bytes, place: int) -> bytes:
    first, *body, last = pem.decode().strip().splitlines()
    content = bytearray(base64.b64decode("".join(body)))
    content[len(content) - CIPHERTEXT + place] ^= 1
    text = base64.b64encode(content).decode()
    return "\n".join([first, *(text[at : at + 64] for at in range(0, len(text), 64)), last, ""]).encode()


def passphrase() -> bytes:
    return PASSPHRASE


def test_changed_bytes_that_open_as_another_key_are_told(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    identity = coordinator.enrol("clinic")
    folder = write_site(tmp_path / "clinic", identity, coordinator.address).folder
    whole = identity.statement_key.to_pem(PASSPHRASE)
    assert is_encrypted(whole)
    write_private(folder.statement_key, whole)
    assert open_site(folder, passphrase).signer.public_key == identity.statement_key.public_key
    changed = with_changed_byte(whole, 20)
    assert StatementKey.from_pem(changed, PASSPHRASE).public_key != identity.statement_key.public_key
    write_private(folder.statement_key, changed)
    before = folder.egress.read_bytes() if folder.egress.exists() else b""
    with pytest.raises(IdentityError, match="gives another key than the one that we were enrolled with"):
        open_site(folder, passphrase)
    found = {item.subject: item for item in examine_connection(folder, passphrase)}
    assert found["keys"].status.value == "FAIL"
    assert "restore it from a backup" in found["keys"].words
    assert (folder.egress.read_bytes() if folder.egress.exists() else b"") == before
