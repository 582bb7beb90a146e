"""An institution's key, moved to where its agent does not look, with a program in front of it."""

from __future__ import annotations

import sys
from pathlib import Path

from testkit import signing_program
from vdb_participant.site.config import StateFolder
from vdb_shared.audit.auditor_key import public_pem
from vdb_shared.identity import StatementKey


def move_key_out(folder: StateFolder, key: StatementKey, place: Path) -> None:
    """Put a key into a new folder of its own, and let the state folder name the program that signs with it."""
    place.mkdir()
    (place / "key.pem").write_bytes(key.to_pem(None))
    command = [sys.executable, signing_program.__file__, str(place / "key.pem")]
    folder.path.mkdir(parents=True, exist_ok=True)
    (folder.path / "statement-key.pub.pem").write_bytes(public_pem(key.public_key))
    words = ", ".join(f'"{word}"' for word in command)
    text = f'version = "vdb-signer/1"\npublic_key = "statement-key.pub.pem"\ncommand = [{words}]\n'
    folder.signer.write_text(text, encoding="utf-8")
    folder.statement_key.unlink(missing_ok=True)
