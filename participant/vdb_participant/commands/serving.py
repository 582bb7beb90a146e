"""`service`: a systemd unit that goes on with a session after a restart of the machine, and stops it cleanly.

Promises that a unit can only go on with a session that somebody consented to: it has no --yes, and none is written for a
session without a recorded consent. Runs no systemctl: what is to be typed is printed. Logs go to the journal of systemd, which
rotates them (journald.conf, SystemMaxUse).

Source: systemd.service(5), systemd.exec(5), systemd.kill(5), systemd.unit(5).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vdb_participant.commands.screen import console
from vdb_participant.session import records
from vdb_participant.session.records import Consented
from vdb_participant.site.config import StateFolder, read_config
from vdb_participant.site.journal_format import read_journal
from vdb_participant.site.storage import PRIVATE_FILE
from vdb_shared.canonical import digest_bytes
from vdb_shared.errors import StoreError, UsageError

STOP_SECONDS: Final = 1800
"""How long a clip may take to its end after SIGTERM before systemd kills; what is lost then are steps of that clip."""

_UNIT: Final = """\
# Goes on with a session of a federated video benchmark. Written by `vdb-participant service`.
[Unit]
Description=VDB participant {institution}, session {short}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
# A session that is over, whatever became of it, is not gone on with.
ExecCondition={condition}
ExecStart={command}
# What can heal by itself (a coordinator that is away) is tried again; what somebody must mend (status 2) is not.
Restart=on-failure
RestartSec=60
RestartPreventExitStatus=2
SuccessExitStatus=130
# SIGTERM to the agent alone: it ends the clip that it is making. Its workers end with it.
KillMode=mixed
TimeoutStopSec={stop}
StandardInput=null
StandardOutput=journal
StandardError=journal
SyslogIdentifier=vdb-participant
UMask=0077
NoNewPrivileges=yes
{extra}
[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator typed: a session or its beginning, folders, the device, and the passphrase's file."""

    session: str
    models: Path | None = None
    device: str = "auto"
    passphrase_file: Path | None = None


def unit(folder: StateFolder, wish: Wish) -> tuple[str, str]:
    """Return the name and the text of the unit that goes on with a session.

    Raises:
        UsageError: nobody consented to this session here, or a path cannot stand in a unit.
    """
    session = folder.find_session(wish.session)
    data = None if session is None else _consented_data(folder, session)
    if session is None or data is None:
        raise UsageError(
            f"{wish.session}: nobody consented to such a session here; run `vdb-participant join` in a terminal once, read the "
            "plan, consent, and stop it with Ctrl-C"
        )
    short = session.removeprefix("sha256:")[:12]
    program = [os.path.abspath(sys.executable), "-m", "vdb_participant.cli", "--dir", _absolute(folder.path)]
    words, extra = [*program], []
    if wish.passphrase_file is not None:
        words += ["--passphrase-file", "%d/passphrase"]
        extra.append(f"LoadCredential=passphrase:{_plain(_absolute(wish.passphrase_file))}")
    words += [
        "join",
        session,
        "--data",
        data,
        "--models",
        _absolute(wish.models or folder.models),
        "--device",
        wish.device,
    ]
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        if name in os.environ:
            extra.append(f"Environment={_quoted(f'{name}={os.environ[name]}')}")
    text = _UNIT.format(
        institution=read_config(folder).institution,
        short=short,
        condition=" ".join(map(_quoted, [*program, "service", "due", session])),
        command=" ".join(map(_quoted, words)),
        stop=STOP_SECONDS,
        extra="".join(f"{line}\n" for line in extra),
    )
    return f"vdb-participant-{short}.service", text


def show(folder: StateFolder, wish: Wish) -> None:
    """Print the unit."""
    sys.stdout.write(unit(folder, wish)[1])


def install(folder: StateFolder, wish: Wish, units: Path | None) -> None:
    """Write the unit where the user's systemd finds it, and say what to type.

    Raises:
        UsageError: see `unit`; or the session has ended for this site, or it cannot be written.
    """
    name, text = unit(folder, wish)
    if not is_due(folder, wish.session):
        raise UsageError(f"{wish.session}: this session has ended for this site; there is nothing to go on with")
    place = (units or Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd" / "user") / name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise UsageError(
            f"{place}: cannot be written ({error.strerror}); choose another folder with --units"
        ) from error
    out = console()
    out.print(f"{place}: written. Next:")
    out.print("  systemctl --user daemon-reload")
    out.print(f"  systemctl --user enable --now {name}")
    out.print("  loginctl enable-linger          # so that it also runs when nobody is logged in")
    out.print(f"  journalctl --user -u {name} -f")
    if wish.passphrase_file is None:
        out.print("If the keys are encrypted, add --passphrase-file: nobody is there to ask.")


def is_due(folder: StateFolder, name: str) -> bool:
    """Return whether a session that was consented to has not ended for this site yet."""
    session = folder.find_session(name)
    found = {} if session is None else _recorded(folder, session)
    return records.CONSENTED in found and records.OUTCOME not in found


def _consented_data(folder: StateFolder, session: str) -> str | None:
    """Return the data directory that was consented to, or None if nothing was."""
    consent = _recorded(folder, session).get(records.CONSENTED)
    return None if consent is None else Consented.decode(consent).folder


def _recorded(folder: StateFolder, session: str) -> dict[str, bytes]:
    """Return the values in a session's journal, by name."""
    journal = folder.session(session) / "journal"
    try:
        found = read_journal(journal.read_bytes(), digest_bytes(session)).records
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"{journal}: cannot be read ({error.strerror})") from error
    return {record.name: record.value for record in found}


def _absolute(path: Path) -> str:
    return str(path.expanduser().absolute())


def _plain(text: str) -> str:
    """Return a text as a unit has it outside of quotes.

    Raises:
        UsageError: a character that no unit can hold.
    """
    if not text.isprintable():
        raise UsageError(f"{text!r}: a path with such a character cannot stand in a unit; move it")
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Return a word of a command line as systemd reads it: specifiers and variables are not meant, except the credential's."""
    if word == "%d/passphrase":
        return word
    escaped = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if escaped != word or any(character in word for character in " '\t;") else word
