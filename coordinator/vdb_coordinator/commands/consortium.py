"""What the commands about members and results do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from vdb_coordinator.commands.administration import Administration, EnrolmentLine
from vdb_coordinator.commands.terminal import Common, ask_first, console, print_json, write_new
from vdb_coordinator.config import Home, split_address
from vdb_coordinator.files import read_file
from vdb_coordinator.identity.keys import is_encrypted
from vdb_shared.canonical import sha256_digest
from vdb_shared.commandline import agreed
from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.wire.enrolment import grouped


def administration(common: Common) -> Administration:
    """Return the lead's connection to the coordinator that serves a directory."""
    home = Home(common.directory)
    home.read_config()
    return Administration(home, common.passphrase_for(encrypted=is_encrypted(home.key("admin"))))


def invite(common: Common, institution: str, output: Path) -> None:
    """Write an invitation."""
    if output.exists():
        raise UsageError(f"{output}: exists already; name another file or remove it")
    screen = console()
    with administration(common) as admin:
        lines = admin.enrolments()
        _say_replaced(lines, institution)
        write_new(output, admin.invite(institution) + b"\n", secret=True)
    if any(line.institution == institution and line.state != "approved" for line in lines):
        screen.print(f"{institution} had an invitation already: that one counts no more")
    screen.print(f"wrote {output}: single use, good for 72 hours; send it to {institution} privately")
    screen.print("the institution runs: vdb-participant enroll FILE --wait, and reads its fingerprint out to you")


def approve(common: Common, institution: str, fingerprint: str | None, *, yes: bool) -> None:
    """Make an institution a member."""
    screen = console()
    with administration(common) as admin:
        lines = admin.enrolments()
        _say_replaced(lines, institution)
        if fingerprint is None:
            waiting = _waiting(lines, institution)
            screen.print(f"{institution} waits with the key {grouped(waiting.fingerprint)}")
            if not yes and not _compared(institution):
                raise IdentityError(f"{institution} was not approved")
            fingerprint = waiting.fingerprint
        seat, version = admin.approve(institution, fingerprint)
        under_way = sum(not item.phase.ended for item in admin.sessions())
    screen.print(
        f"{institution} is a member now: seat {seat} in version {version} of the roster, the signed list of members"
    )
    if under_way:
        have = "session has" if under_way == 1 else "sessions have"
        screen.print(
            f"{under_way} open {have} the roster from before: {institution} can join those that are created from now on"
        )


def revoke(common: Common, institution: str, reason: Literal["compromised", "left"], note: str, *, yes: bool) -> None:
    """End a membership for good."""
    screen = console()
    warning = f"{institution} will be refused from now on, and the public log will say for ever: {reason}"
    with administration(common) as admin:
        if not yes and all((line.institution, line.state) != (institution, "approved") for line in admin.enrolments()):
            raise IdentityError(f"{institution} is no member; `vdb-coordinator {common.chosen}enrolments` lists who is")
        ask_first(warning, "Revoke it?", yes=yes)
        fingerprint, version = admin.revoke(institution, reason, note)
        under_way = sum(not item.phase.ended for item in admin.sessions())
    screen.print(f"{institution} is revoked; the roster has version {version}, without it")
    screen.print(f"its key counts no more: {grouped(fingerprint)}")
    if under_way:
        goes = "open session goes" if under_way == 1 else "open sessions go"
        screen.print(f"{under_way} {goes} on without it, under the roster from before, which still names it")
    screen.print(
        f"if it is to come back: vdb-coordinator {common.chosen}invite {institution} -o FILE; it needs a new key"
    )


def _say_replaced(lines: list[EnrolmentLine], institution: str) -> None:
    """Say what becomes of a member's key when another one is approved under its name."""
    for line in lines:
        if line.institution == institution and line.state == "approved":
            console().print(
                f"{institution} is a member with the key {grouped(line.fingerprint)}: approving another ends that one at once, "
                "and who holds it is refused, in open sessions too"
            )


def _waiting(lines: list[EnrolmentLine], institution: str) -> EnrolmentLine:
    for line in lines:
        if line.institution == institution and line.state == "waiting":
            return line
    raise IdentityError(
        f"{institution} does not wait for approval; it must run `vdb-participant enroll` with its invitation first"
    )


def _compared(institution: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("compare the fingerprint and give it with --fingerprint (or --yes, for tests only)")
    return agreed(f"Does {institution} read out exactly this?")


def enrolments(common: Common, *, as_json: bool) -> None:
    """List invitations and members."""
    with administration(common) as admin:
        lines = admin.enrolments()
    if as_json:
        print_json(
            [
                {
                    "institution": line.institution,
                    "state": line.state,
                    "seat": line.seat,
                    "fingerprint": line.fingerprint,
                    "expires": line.expires,
                    "certificate_expires": line.certificate_expires,
                }
                for line in lines
            ]
        )
        return
    screen = console()
    if not lines:
        screen.print(f"nobody was invited yet; use: vdb-coordinator {common.chosen}invite NAME -o FILE")
    for line in lines:
        seat = "" if line.seat is None else f"  seat {line.seat}"
        end = line.expires if line.state == "invited" else line.certificate_expires
        until = f"  until {end}" if end else ""
        screen.print(f"{line.institution:<24} {line.state}{seat}{until}  {grouped(line.fingerprint)}".rstrip())


def fingerprint(common: Common, *, as_json: bool) -> None:
    """Print the trust root's fingerprint."""
    home = Home(common.directory)
    home.read_config()
    digest = sha256_digest(read_file(home.root))
    if as_json:
        print_json({"root": digest})
    else:
        console().print(digest)


def log(common: Common, *, as_json: bool) -> None:
    """Print the transparency log's key and where it is."""
    home = Home(common.directory)
    config = home.read_config()
    if not home.log_key.is_file():
        raise UsageError(f"{home.path}: has no log yet; `vdb-coordinator {common.chosen}serve` begins one")
    key = read_file(home.log_key).decode().strip()
    if as_json:
        print_json({"key": key, "folder": str(home.log), "listen": config.log_listen or ""})
        return
    screen = console()
    screen.print(key)
    screen.print(f"files: {home.log}", soft_wrap=True)
    served = f"served on {config.log_listen}" if config.log_listen else "not served; see log_listen in coordinator.toml"
    screen.print(served, soft_wrap=True)
    screen.print(f"read it here with: vdb-audit monitor {home.log} --key {key} --remember FILE", soft_wrap=True)
    if config.log_listen:
        port = split_address(config.log_listen)[1]
        screen.print(
            f"and elsewhere with http://HOST:{port} in place of the folder, HOST the name that this machine has there",
            soft_wrap=True,
        )


def _bare(session: str) -> str:
    return session.removeprefix("sha256:")


def export(common: Common, session: str, output: Path) -> None:
    """Write the bundle of a published session."""
    with administration(common) as admin:
        content = admin.bundle(session)
        withdrawn = any(item.withdrawn for item in admin.sessions() if item.session[7:].startswith(_bare(session)))
    home = Home(common.directory)
    root = sha256_digest(read_file(home.root))
    write_new(output, content)
    screen = console()
    screen.print(f"wrote {output} ({len(content):,} bytes)")
    if withdrawn:
        screen.print(
            "this result is withdrawn: give the log to whoever reads it (--log), without which nothing says so"
        )
    log = f" --log {home.log}" if withdrawn else ""
    screen.print(f"verify it with: vdb-audit verify {output} --root {root}{log}", soft_wrap=True)
