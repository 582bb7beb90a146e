"""A whole consortium on one machine: five institutions, one lead, one auditor.

Every party is the installed console script in a process of its own, talking over loopback with mutual TLS. One participant
is killed with SIGKILL after it has shared its keys; the session completes without it; the result is verified, and rejected
after one byte is flipped. Run it with `make demo`.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

BIN: Final = Path(sys.executable).parent
INSTITUTIONS: Final = ("archive-oslo", "clinic-lyon", "film-studio", "lab-kyoto", "museum-lima")
VICTIM: Final = "film-studio"
FAILPOINT: Final = "after-share-keys"
SESSION_TIMEOUT: Final = 2400.0
"""Seconds after which the demo gives up, longer than the deadlines of its spec: a slow machine is no failure."""

QUIET_SECONDS: Final = 20
"""After so long without a change it is said that nothing hangs."""


class DemoError(Exception):
    """A step of the demo did not do what it promises."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the demo keeps its things, and how many clips each site has."""

    out: Path
    clips: int
    began: float

    @property
    def consortium(self) -> Path:
        """The lead's directory."""
        return self.out / "consortium"

    def site(self, institution: str) -> Path:
        """The state directory of an institution's agent."""
        return self.out / "sites" / institution / "agent"

    def data(self, institution: str) -> Path:
        """The private data of an institution."""
        return self.out / "sites" / institution / "data"

    def session_page(self, institution: str, session: str) -> Path:
        """The page that an institution's agent writes when a session has finished."""
        return self.site(institution) / "sessions" / session.removeprefix("sha256:") / "result.html"

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.out / "logs" / f"{name}.log"

    def say(self, message: str) -> None:
        """Print a line with the seconds since the demo began."""
        print(f"[{time.monotonic() - self.began:5.1f} s] {message}", flush=True)

    def environment(self, **more: str) -> dict[str, str]:
        """The processes' environment: no model hub, and one thread each, since five sites share this machine."""
        return os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "120"} | more

    def call(self, *command: str | Path, expect: int = 0) -> str:
        """Run a command to its end and return what it printed.

        Raises:
            DemoError: it ended with another exit code than expected.
        """
        words = [str(BIN / command[0]), *map(str, command[1:])]
        done = subprocess.run(words, capture_output=True, text=True, env=self.environment(), check=False)
        if done.returncode != expect:
            raise DemoError(
                f"{' '.join(map(str, command))}\nended with {done.returncode}, not {expect}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def lead(self, *command: str | Path) -> str:
        """Run a command of the lead."""
        return self.call("vdb-coordinator", "--dir", self.consortium, *command)

    def start(self, name: str, *command: str | Path, **more: str) -> subprocess.Popen[bytes]:
        """Start a process whose output goes to its log file."""
        words = [str(BIN / command[0]), *map(str, command[1:])]
        with self.log(name).open("wb") as log:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=self.environment(**more)
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(description="Five institutions benchmark three tiny models on private clips.")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for everything (replaced)")
    parser.add_argument("--clips", type=int, default=200, help="private clips of each site")
    chosen = parser.parse_args(arguments)
    demo = Demo(chosen.out.resolve(), chosen.clips, time.monotonic())
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        run(demo, processes)
    except DemoError as error:
        print(f"demo failed: {error}", file=sys.stderr)
        for name in ("coordinator", *INSTITUTIONS):
            if demo.log(name).exists():
                print(f"--- last lines of {demo.log(name)}", file=sys.stderr)
                print("\n".join(demo.log(name).read_text(errors="replace").splitlines()[-8:]), file=sys.stderr)
        return 1
    finally:
        stop(processes)
    return 0


def run(demo: Demo, processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Tell the whole story, step by step."""
    shutil.rmtree(demo.out, ignore_errors=True)
    (demo.out / "logs").mkdir(parents=True)
    demo.say(f"rendering {demo.clips} private clips at each of {len(INSTITUTIONS)} sites")
    prepare(demo)
    address = f"127.0.0.1:{free_port()}"
    demo.say(f"the lead founds a consortium and starts the coordinator at {address}")
    demo.call(
        "vdb-coordinator", "init", demo.consortium, "--consortium", "demo", "--address", address, "--plaintext-keys"
    )
    processes["coordinator"] = demo.start("coordinator", "vdb-coordinator", "--dir", demo.consortium, "serve")
    wait_for_port(address, processes["coordinator"])
    demo.say("institutions enrol: each makes its keys at home, and the lead compares fingerprints before approving")
    enrol(demo)
    session = open_session(demo)
    demo.say(f"session {session[7:19]} is open; what would leave {INSTITUTIONS[0]}, before it consents:")
    site = INSTITUTIONS[0]
    print(
        indent(
            demo.call(
                "vdb-participant", "--dir", demo.site(site), "join", session, "--data", demo.data(site), "--dry-run"
            )
        )
    )
    demo.say("all five join (loading PyTorch takes a while); then they generate, measure and contribute by themselves")
    participate(demo, session, processes)
    finish(demo, session)
    report_selectively(demo)


def prepare(demo: Demo) -> None:
    """Render the sites' private clips, two processes at a time."""
    scenes = "vdb_participant.embedded.scenes"
    jobs = [
        (f"clips-{name}", scenes, str(demo.data(name)), "--site", str(number), "--clips", str(demo.clips))
        for number, name in enumerate(INSTITUTIONS)
    ]
    running: list[tuple[str, subprocess.Popen[bytes]]] = []
    while jobs or running:
        while jobs and len(running) < 2:
            name, *command = jobs.pop(0)
            running.append((name, demo.start(name, "python", "-m", *command)))
        name, process = running.pop(0)
        if process.wait() != 0:
            raise DemoError(f"{name} could not be made:\n{demo.log(name).read_text()}")
        demo.say(f"  {name} ready")


def enrol(demo: Demo) -> None:
    """Invite, enrol and approve every institution."""
    waiting: dict[str, subprocess.Popen[bytes]] = {}
    for name in INSTITUTIONS:
        invitation = demo.out / "sites" / name / f"{name}.invitation"
        demo.lead("invite", name, "-o", invitation)
        words = ("--dir", demo.site(name), "enroll", invitation, "--plaintext-keys", "--wait")
        waiting[name] = demo.start(f"enroll-{name}", "vdb-participant", *words)
    for name, process in waiting.items():
        fingerprint = (
            wait_for_line(demo.log(f"enroll-{name}"), "fingerprint:", process, 60.0).split("fingerprint:")[1].strip()
        )
        demo.lead("approve", name, "--fingerprint", fingerprint)
        demo.say(f"  {name}: {fingerprint[:39]}… approved")
    for name, process in waiting.items():
        if process.wait(60.0) != 0:
            raise DemoError(f"{name} could not enrol:\n{demo.log(f'enroll-{name}').read_text()}")
        policy = demo.site(name) / "policy.toml"
        policy.write_text(policy.read_text().replace("unattended_consent = false", "unattended_consent = true"))
    demo.say("  each allows its agent to consent by --yes (unattended_consent in policy.toml): nobody sits there")


def open_session(demo: Demo) -> str:
    """Write the spec from the demo's preset, lint it, open the session; return its id."""
    spec = demo.out / "spec.toml"
    demo.call("vdb-coordinator", "spec", "init", "demo", "-o", spec)
    demo.call("vdb-coordinator", "spec", "lint", spec)
    return session_id(demo.lead("session", "create", spec))


def session_id(printed: str) -> str:
    """Return the id in what `session create` printed."""
    found = [word for word in printed.split() if word.startswith("sha256:")]
    if not found:
        raise DemoError(f"session create printed no session id: {printed}")
    return found[0]


def participate(demo: Demo, session: str, processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Let all five take part, kill one after it shared its keys, and wait until the others are done."""
    for name in INSTITUTIONS:
        more = {"VDB_FAILPOINTS": f"{FAILPOINT}=hold"} if name == VICTIM else {}
        words = ("--dir", demo.site(name), "join", session, "--data", demo.data(name), "--yes")
        processes[name] = demo.start(name, "vdb-participant", *words, **more)
    watch = subprocess.Popen(
        [str(BIN / "vdb-coordinator"), "--dir", str(demo.consortium), "session", "watch", session],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=demo.environment(),
    )
    processes["watch"] = watch
    if watch.stdout is None:
        raise DemoError("session watch has no output")
    follow(demo, watch.stdout, processes)
    if watch.wait(30.0) != 0:
        raise DemoError("the session did not publish a result")
    for name in INSTITUTIONS:
        if name != VICTIM and processes[name].wait(60.0) != 0:
            raise DemoError(f"{name} ended with {processes[name].returncode}")


def follow(demo: Demo, lines: IO[bytes], processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Print the session's progress; kill the victim as soon as it has shared its keys."""
    deadline = time.monotonic() + SESSION_TIMEOUT
    killed, quiet = False, 0
    for line in lines_of(lines):
        if time.monotonic() > deadline:
            raise DemoError(f"the session took more than {SESSION_TIMEOUT:.0f} s")
        check_alive(demo, {name: processes[name] for name in INSTITUTIONS if not (killed and name == VICTIM)})
        quiet = 0 if line else quiet + 1
        if quiet and quiet % QUIET_SECONDS == 0:
            demo.say(f"  … nothing new for {quiet} s; all agents are alive, and share this machine's processors")
        if not line:
            continue
        demo.say(f"  {line}")
        if not killed and VICTIM in line and "sent its sealed shares" in line:
            wait_for_line(demo.log(VICTIM), FAILPOINT, processes[VICTIM], 30.0)
            processes[VICTIM].send_signal(signal.SIGKILL)
            processes[VICTIM].wait(30.0)
            killed = True
            demo.say(
                f"SIGKILL to {VICTIM} (process {processes[VICTIM].pid}): it shared its keys and will never answer again"
            )
            demo.say("  the others wait for it until the round's deadline, 10 s, and go on without it")
    if not killed:
        raise DemoError(f"{VICTIM} never shared its keys, so it was not killed: the demo shows nothing")


def check_alive(demo: Demo, agents: dict[str, subprocess.Popen[bytes]]) -> None:
    """Raise DemoError with the last words of an agent that has failed."""
    for name, process in agents.items():
        if process.poll() not in (None, 0):
            raise DemoError(f"{name} ended with {process.returncode}:\n{demo.log(name).read_text()[-2000:]}")


def lines_of(stream: IO[bytes]) -> Iterator[str]:
    """Yield a stream's lines as they come, and an empty line each second in which none does."""
    arrived: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        for raw in stream:
            arrived.put(raw)
        arrived.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            raw = arrived.get(timeout=1.0)
        except queue.Empty:
            yield ""
            continue
        if raw is None:
            return
        yield raw.decode(errors="replace").rstrip()


def finish(demo: Demo, session: str) -> None:
    """Export, verify, tamper, and show the leaderboard."""
    bundle = demo.out / "result.vdbb"
    demo.lead("export", session, "-o", bundle)
    root = root_fingerprint(demo)
    demo.say(f"the auditor verifies {bundle.name} ({bundle.stat().st_size:,} bytes) offline, with the root it was told")
    print(indent(demo.call("vdb-audit", "verify", bundle, "--root", root, "--log", demo.consortium / "log")))
    tampered = demo.out / "tampered.vdbb"
    data = bytearray(bundle.read_bytes())
    position = data.index(b'"scale"')
    data[position + 12] ^= 1
    tampered.write_bytes(data)
    demo.say(f"one bit of byte {position + 12} is flipped, and the auditor looks again")
    rejected = demo.call("vdb-audit", "verify", tampered, "--root", root, expect=1)
    print(indent("\n".join(line for line in rejected.splitlines() if "FAIL" in line)))
    page = demo.out / "leaderboard.html"
    demo.say(
        "the leaderboard verifies the bundle again, this time without the log (no --log): what only the log shows is "
        "NOT PROVEN there, so its count is higher than above"
    )
    print(demo.call("vdb-audit", "leaderboard", bundle, "--root", root, "--html", page))
    demo.say(f"{INSTITUTIONS[0]} holds what left it, by its own record, against the result")
    print(indent(demo.call("vdb-participant", "--dir", demo.site(INSTITUTIONS[0]), "journal", "verify", bundle)))
    own = demo.session_page(INSTITUTIONS[0], session)
    if not own.exists():
        raise DemoError(f"{INSTITUTIONS[0]} wrote no page of its own:\n{demo.log(INSTITUTIONS[0]).read_text()[-2000:]}")
    demo.say(f"each institution also has a page with clips that it made itself: {own}")
    demo.say(f"{bundle} verifies; open {page} in a browser")


def report_selectively(demo: Demo) -> None:
    """Open a second session of the same spec, publish nothing of it, and let the auditor read the log."""
    demo.say("the lead opens a second session of the same spec and keeps quiet about it; the auditor reads the log")
    second = session_id(demo.lead("session", "create", demo.out / "spec.toml"))
    key = demo.lead("log").splitlines()[0]
    read = demo.call("vdb-audit", "monitor", demo.consortium / "log", "--key", key, "--remember", demo.out / "seen")
    print(indent(read))
    if second[:19] not in read or "was run in 2 sessions" not in read:
        raise DemoError("the log does not show the second session")
    demo.say("done: who runs a benchmark twice to publish the nicer result is seen in the log")


def root_fingerprint(demo: Demo) -> str:
    """The trust root's fingerprint, as the lead would read it out."""
    found = [word for word in demo.lead("fingerprint").split() if word.startswith("sha256:")]
    if not found:
        raise DemoError("the lead's fingerprint command printed no digest")
    return found[0]


def indent(text: str) -> str:
    """Return the text set off from the demo's own lines."""
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())


def free_port() -> int:
    """Return a port that is free on loopback at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_port(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the coordinator listens."""
    host, port = address.rsplit(":", 1)
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise DemoError(f"the coordinator does not listen at {address}")


def wait_for_line(log: Path, text: str, process: subprocess.Popen[bytes], seconds: float) -> str:
    """Wait until a log holds a line with this text; return the line."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        for line in log.read_text(errors="replace").splitlines():
            if text in line:
                return line
        if ended:
            break
        time.sleep(0.1)
    raise DemoError(f"{log.name} never said {text!r}:\n{log.read_text(errors='replace')}")


def stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """End whatever still runs, by process id."""
    for process in processes.values():
        if process.poll() is None:
            process.terminate()
    for process in processes.values():
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10.0)


if __name__ == "__main__":
    sys.exit(main())
