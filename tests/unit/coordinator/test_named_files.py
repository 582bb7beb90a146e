"""Files that several people sign or check are named in what refuses them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from testkit.one_line import refused
from vdb_coordinator.commands import approving, auditing, root_files
from vdb_coordinator.commands.order_files import read_order
from vdb_coordinator.commands.terminal import Common
from vdb_coordinator.config import Home
from vdb_coordinator.identity.founding import found, new_config
from vdb_shared.errors import FormatError, IdentityError, UsageError
from vdb_shared.identity import StatementKey
from vdb_shared.transparency.note import ED25519, NoteKey


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Return a file that is nothing."""
    (tmp_path / "noise").write_bytes(b"\xaf")
    return tmp_path / "noise"


@pytest.fixture
def common(tmp_path: Path) -> Common:
    """Return the options of commands about a new consortium, whose keys have no passphrase."""
    home = Home(tmp_path / "home")
    found(home, new_config("testbed", "localhost:7443", "localhost:7443"), None, datetime(2031, 1, 1, tzinfo=UTC))
    return Common(home.path, None)


def test_what_is_no_proposal_is_named(noise: Path, common: Common) -> None:
    words = (
        f"{noise}: expected a proposal, as `approvals propose` writes it (not strict JSON: from byte 0 on it is no text in "
        "UTF-8)"
    )
    assert refused(UsageError, lambda: approving.show(noise)) == words
    assert refused(UsageError, lambda: approving.sign(common, noise, "anna", noise, yes=True)) == words
    assert refused(UsageError, lambda: approving.submit(common, noise, (noise,))) == words
    assert refused(UsageError, lambda: read_order(noise)) == words


def test_what_is_no_version_of_the_root_is_named(noise: Path, common: Common) -> None:
    words, output = f"{noise}: this is no version of a trust root: ", noise.with_name("order.json")
    assert refused(IdentityError, lambda: root_files.show(common, noise, as_json=False)).startswith(words)
    assert refused(IdentityError, lambda: root_files.sign(common, noise, None, yes=True)).startswith(words)
    assert refused(IdentityError, lambda: root_files.install(common, [noise], None)).startswith(words)
    assert refused(IdentityError, lambda: approving.propose_root(common, noise, output)).startswith(words)


def test_what_is_no_public_key_is_named(noise: Path, common: Common) -> None:
    wish = root_files.Wish((noise,), (), None, False)
    words = f"{noise}: expected a public key as `vdb-coordinator root key` writes it (FILE.pub)"
    assert refused(IdentityError, lambda: root_files.change(common, wish, noise.with_name("next.json"))) == words


def test_what_is_no_export_of_the_audit_log_is_named(noise: Path, common: Common) -> None:
    key = str(NoteKey("testbed/vdb-log", ED25519, StatementKey.from_seed(bytes(32)).public_key.raw))
    words = f"{noise}: the file is no whole export of an audit log: "
    assert refused(FormatError, lambda: auditing.verify(common, noise, key, (), as_json=False)).startswith(words)
