"""A session as a service: nothing without a consent, a clean stop, and going on."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from testkit.agent_cli import PROGRAM, run
from testkit.coordinator import running_coordinator
from testkit.institutions import Institution, session_spec, write_prompts, write_site
from testkit.sessions import SITES, journal_of
from vdb_participant.commands.serving import is_due
from vdb_participant.session import records
from vdb_participant.session.preparation import Resources
from vdb_participant.site.config import StateFolder
from vdb_participant.site.journal import Journal
from vdb_participant.site.policy import DEFAULT_POLICY
from vdb_participant.site.storage import FileStorage
from vdb_shared.canonical import digest_bytes
from vdb_shared.spec import Deadlines


def has_joined(institution: Institution) -> bool:
    return (institution.folder / "journal").exists() and "join/sent/acknowledged" in journal_of(institution)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Institution, int, str]:
    """One institution that consented, joined, waits for the others, sees the coordinator restart, and is told to stop."""
    path = tmp_path_factory.mktemp("service")
    with running_coordinator(path / "lead", institutions=SITES) as coordinator:
        spec = session_spec(path / "models")
        patient = Deadlines(
            joining=600, computing=600, round=60, countersigning=60
        )  # a busy machine loads torch slowly
        session = coordinator.admin.create_session(spec.model_copy(update={"deadlines": patient}))
        site = write_site(path / "site-0", coordinator.identities[0], coordinator.address)
        first = Institution(site, Resources(write_prompts(path / "data", 0), path / "models"), session)
        state = first.site.folder.path
        allowing = DEFAULT_POLICY.replace("unattended_consent = false", "unattended_consent = true")
        first.site.folder.policy.write_text(allowing)
        words = [
            "--dir",
            state,
            "join",
            first.session,
            "--data",
            first.resources.data,
            "--models",
            first.resources.models,
        ]
        refused = run("--dir", state, "service", "print", first.session)
        assert refused.returncode == 2
        assert "nobody consented to such a session here" in refused.stderr
        command = [sys.executable, "-c", PROGRAM, *map(str, words), "--yes", "--no-timing"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and not has_joined(first):
                time.sleep(0.1)
            end_of_patience = threading.Timer(120, process.kill)
            end_of_patience.start()
            coordinator.stop()
            complained = read_until("does not answer", process)
            coordinator.start()
            complained += read_until("answers again", process)
            end_of_patience.cancel()
            process.send_signal(signal.SIGTERM)
            complained += process.communicate(timeout=60)[1]
    return first, process.returncode, complained


def read_until(words: str, process: subprocess.Popen[str]) -> str:
    """Return the lines of a process's standard error up to the one that has these words, or all."""
    assert process.stderr is not None
    lines: list[str] = []
    while not lines or (words not in lines[-1] and lines[-1]):
        lines.append(process.stderr.readline())
    return "".join(lines)


def test_who_waits_is_told_once_that_the_coordinator_went_and_once_that_it_is_back(
    joined: tuple[Institution, int, str],
) -> None:
    first, _, complained = joined
    address = first.site.config.address
    gone, back = (line for line in complained.splitlines() if address in line)
    assert gone.startswith(f"the coordinator at {address} does not answer since ")
    assert "; nothing is lost, and this agent goes on asking until " in gone
    assert back.startswith(f"the coordinator at {address} answers again (")


def test_sigterm_is_a_clean_stop(joined: tuple[Institution, int, str]) -> None:
    first, status, complained = joined
    assert status == 130
    assert complained.splitlines()[-1] == "stopped; run the same command again to go on"
    assert "Traceback" not in complained
    assert "outcome" not in journal_of(first), "stopping is not leaving"


def test_the_unit_goes_on_with_what_was_consented_to(joined: tuple[Institution, int, str], tmp_path: Path) -> None:
    first, _, _ = joined
    state = first.site.folder.path
    secret = tmp_path / "pass phrase"
    secret.write_text("x")
    done = run(
        "--dir", state, "--passphrase-file", secret, "service", "print", first.session[7:19],
        "--models", first.resources.models, HTTPS_PROXY="http://proxy:8080",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line and not line.startswith("#"))
    command = shlex.split(lines["ExecStart"])
    assert command[:3] == [sys.executable, "-m", "vdb_participant.cli"]
    assert command[3:] == [
        "--dir", str(state), "--passphrase-file", "%d/passphrase", "join", first.session,
        "--data", str(first.resources.data.resolve()), "--models", str(first.resources.models), "--device", "auto",
    ]  # fmt: skip
    assert "--yes" not in done.stdout
    asked = shlex.split(lines["ExecCondition"])
    assert asked[3:] == ["--dir", str(state), "service", "due", first.session]
    assert subprocess.run(asked, check=False).returncode == 0
    assert lines["LoadCredential"] == f"passphrase:{secret}"
    assert lines["Environment"] == "HTTPS_PROXY=http://proxy:8080"
    assert (lines["KillMode"], lines["RestartPreventExitStatus"], lines["SuccessExitStatus"]) == ("mixed", "2", "130")


def test_a_session_that_is_over_is_not_gone_on_with(joined: tuple[Institution, int, str], tmp_path: Path) -> None:
    """Else a service would start an aborted session again every minute."""
    first, _, _ = joined
    assert is_due(first.site.folder, first.session)
    over = StateFolder(tmp_path / "state")
    shutil.copytree(first.folder, over.session(first.session))
    storage = FileStorage(over.session(first.session) / "journal")
    with Journal(storage, digest_bytes(first.session)) as journal:
        journal.record(records.OUTCOME, b"the session was aborted")
    assert not is_due(over, first.session)
    assert not is_due(over, "sha256:" + "0" * 64)
    assert run("--dir", over.path, "service", "due", first.session).returncode == 1
    shutil.copy(first.site.folder.config, over.config)
    refused = run("--dir", over.path, "service", "install", first.session, XDG_CONFIG_HOME=str(tmp_path / "units"))
    assert refused.returncode == 2
    assert "this session has ended for this site" in refused.stderr
    assert not (tmp_path / "units").exists()


def test_installing_writes_the_unit_and_says_how_to_start_it(
    joined: tuple[Institution, int, str], tmp_path: Path
) -> None:
    first, _, _ = joined
    state = first.site.folder.path
    done = run("--dir", state, "service", "install", first.session, XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (unit,) = (tmp_path / "systemd" / "user").iterdir()
    assert unit.name == f"vdb-participant-{first.session[7:19]}.service"
    assert unit.read_text() == run("--dir", state, "service", "print", first.session).stdout
    assert unit.stat().st_mode & 0o077 == 0
    assert f"systemctl --user enable --now {unit.name}" in done.stdout
    analyser = shutil.which("systemd-analyze")
    if analyser and os.environ.get("XDG_RUNTIME_DIR"):
        checked = subprocess.run([analyser, "--user", "verify", unit], capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr
