"""What `backup` and `restore` do, and what they say of it."""

from __future__ import annotations

from pathlib import Path

from vdb_coordinator.backups.container import read_container
from vdb_coordinator.backups.making import Backup, make_backup
from vdb_coordinator.backups.restoring import Restored, Wish
from vdb_coordinator.backups.restoring import restore as restore_backup
from vdb_coordinator.commands.terminal import Common, console, print_json
from vdb_coordinator.config import Home
from vdb_coordinator.identity.keys import is_encrypted
from vdb_coordinator.serving.clock import SystemClock
from vdb_shared.errors import UsageError
from vdb_shared.wording import counted


def backup(common: Common, to: Path | None, check: Path | None, *, with_keys: bool, as_json: bool) -> None:
    """Write a backup, or check one."""
    if to is not None and check is None:
        _make(common, to, with_keys=with_keys, as_json=as_json)
    elif check is not None and to is None:
        _say(check, Backup(*read_container(check)), "sound", as_json=as_json)
    else:
        raise UsageError("give either --to, where the backup goes, or --check, the backup to check")


def _make(common: Common, to: Path, *, with_keys: bool, as_json: bool) -> None:
    home, now = Home(common.directory), SystemClock().now()
    config = home.read_config()
    target = to / f"{config.consortium}-{now:%Y%m%dT%H%M%SZ}.vdbbackup" if to.is_dir() else to
    made = make_backup(home, target, now, with_keys=with_keys)
    _say(target, made, "written", as_json=as_json)
    if with_keys and not as_json:
        plain = "" if is_encrypted(home.key("statement")) else " IN PLAIN TEXT"
        console().print(
            f"it holds the coordinator's private keys{plain or ', which the passphrase unlocks'}: whoever has it can speak for "
            "the consortium; guard it as the directory"
        )


def _say(path: Path, found: Backup, done: str, *, as_json: bool) -> None:
    manifest = found.manifest
    if as_json:
        print_json(
            {
                "version": "vdb-backup-report/1",
                "file": str(path),
                "digest": found.digest,
                "made": manifest.made,
                "stopped": manifest.stopped,
                "entries": manifest.entries,
                "keys": manifest.with_keys,
                "files": len(manifest.files),
                "bytes": sum(entry.size for entry in manifest.files),
            }
        )
        return
    served = "nobody served" if manifest.stopped else "a coordinator served"
    screen = console()
    screen.print(
        f"{path}: {done}; of {manifest.consortium}, {manifest.made} ({served}); {counted(len(manifest.files), 'file')}, "
        f"{sum(entry.size for entry in manifest.files):,} bytes, {counted(manifest.entries, 'entry', 'entries')} of the log, "
        f"{'with' if manifest.with_keys else 'without'} private keys"
    )
    screen.print(f"{found.digest}")


def restore(common: Common, wish: Wish, *, as_json: bool) -> None:
    """Restore a backup and say what is lost."""
    found = restore_backup(wish, lambda encrypted: common.passphrase_for(encrypted=encrypted), SystemClock().now())
    losses = found.losses
    if as_json:
        print_json(
            {
                "version": "vdb-restore/1",
                "directory": str(wish.into),
                "made": found.manifest.made,
                "epoch": losses.epoch,
                "entries": losses.entries,
                "aborted": list(losses.aborted),
                "ended": list(losses.ended),
                "lost": [session.session for session in losses.lost],
                "left_out": list(losses.left_out),
                "roster": losses.version,
            }
        )
        return
    _tell(wish, found)


def _tell(wish: Wish, found: Restored) -> None:
    losses, screen = found.losses, console()
    screen.print(f"restored the backup of {found.manifest.made} into {wish.into}; {found.looked_at} things are sound")
    taken = counted(losses.entries, "entry", "entries")
    screen.print(f"epoch {losses.epoch}; roster version {losses.version}; {taken} taken from the log")
    for session in losses.aborted:
        screen.print(f"{session}: will be aborted: what happened in it since the backup is lost")
    for session in losses.ended:
        screen.print(f"{session}: ended as the log says; how is lost")
    for lost in losses.lost:
        screen.print(f"{lost.session}: {lost.reason}")
    for institution in losses.left_out:
        screen.print(f"{institution}: is no member; the log revokes its key")
    if not wish.nothing_lost:
        screen.print(
            "invitations that were not approved are void; whoever was enrolled after the backup must be invited again"
        )
    screen.print("make sure that no other coordinator of this consortium serves or ever will: two of them fork the log")
    screen.print(f"next: vdb-coordinator --dir {wish.into} serve")
