"""A Ray cluster makes what this machine makes, to the last bit, and the death of an actor or of a machine costs little."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from testkit.agent_cli import run
from testkit.mortal import Loading, Talkative
from testkit.resumable_pipelines import TinyGenerator, spec_of
from testkit.tiny import tiny_spec
from vdb_participant.generation import cluster as subject
from vdb_participant.generation.checkpoints import Interval
from vdb_participant.generation.cluster import Sight, connected, look
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.progress import Event
from vdb_participant.generation.settings import settings_of
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_participant.generation.workers import Job, run_workers
from vdb_participant.measure.generating import Load
from vdb_participant.measure.site import Equipment, measure_site
from vdb_participant.models import inspect_weights
from vdb_shared.errors import ModelError, UsageError
from vdb_shared.tasks import public_tasks

STEPS = 4
SPEC = spec_of(["wan-euler"], prompts=4, steps=STEPS)
TASKS = public_tasks(SPEC)
MEBIBYTE = 2**20
HOST = "127.0.0.2"
"""On loopback, and not 127.0.0.1, in whose place Ray puts the address of a network card."""


@dataclass(frozen=True)
class Machines:
    """A Ray cluster on loopback: two machines of one CPU each, as far as Ray can tell."""

    ray_cluster: Any
    second: Any

    @property
    def address(self) -> str:
        return str(self.ray_cluster.address)

    @property
    def logs(self) -> Path:
        return Path(self.ray_cluster.head_node.get_session_dir_path()) / "logs"


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    utilities = pytest.importorskip(
        "ray.cluster_utils", reason="Ray is not installed; it comes with the extra `cluster`"
    )
    machine = {"num_cpus": 1, "object_store_memory": 80 * MEBIBYTE, "node_ip_address": HOST}
    cluster = utilities.Cluster(
        initialize_head=True, connect=False, head_node_args=machine | {"include_dashboard": False}
    )
    yield Machines(cluster, cluster.add_node(**machine))
    cluster.shutdown()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of all clips, made in this process."""
    store = ClipStore(tmp_path_factory.mktemp("calm"))
    Engine(SPEC, store).run(TASKS, partial(TinyGenerator, "wan-euler", STEPS), lambda _done, _total: None)
    return digests(store)


def digests(store: ClipStore) -> dict[str, str]:
    engine = Engine(SPEC, store)
    clips = {engine.key(task).name: store.get(engine.key(task)) for task in TASKS}
    return {name: clip.digest for name, clip in clips.items() if clip is not None}


def make(
    machines: Machines, job: Job, workers: int = 2, tell: Callable[[Event], None] = lambda _event: None
) -> dict[str, str | None]:
    """Return what became of each clip, by its prompt."""
    settled: dict[str, str | None] = {}

    def note(key: ClipKey, failure: str | None) -> None:
        assert key.prompt not in settled
        settled[key.prompt] = failure

    with connected(machines.address, "cpu", workers, job.store) as cluster:
        run_workers(job, cluster.devices, note, tell, cluster)
    return settled


def test_two_actors_make_what_this_machine_makes_though_one_dies(
    machines: Machines, tmp_path: Path, calm: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    deadly = TASKS[1].prompt
    diary = tmp_path / "diary"
    diary.touch()
    loading = Talkative(STEPS, diary, deadly, deaths=1, after=4)
    events: list[Event] = []
    job = Job(SPEC, tmp_path / "store", TASKS, loading, interval=Interval(1, 0))
    settled = make(machines, job, tell=events.append)
    assert digests(ClipStore(job.store)) == calm
    assert settled == dict.fromkeys((task.prompt for task in TASKS), None)
    lines = diary.read_text().splitlines()
    assert lines.count(f"died {deadly}") == 1
    assert (
        lines.count(f"step {deadly}") == 2 * STEPS
    )  # with the words and without; the other actor went on where this one was
    assert {event.kind for event in events} >= {"begun", "step", "finished"}
    assert [event.done for event in events if event.kind == "finished"] == [1, 2, 3, 4]
    assert "raylet" not in capsys.readouterr().out  # what programs read holds figures alone
    # The generator says each prompt aloud; Ray's own files must not keep it.
    kept = [path for path in machines.logs.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"prompt number" in path.read_bytes()]


def test_a_site_measures_the_same_with_a_cluster(machines: Machines, tiny_models: Path, tmp_path: Path) -> None:
    spec = tiny_spec(tiny_models, pipelines=["tiny-wan-a"], metrics=["temporal-flickering@1"], inputs=["public"])

    def measured(name: str, equipment: Equipment) -> Any:
        return measure_site(spec, public_tasks(spec), None, equipment, ClipStore(tmp_path / name))

    here = measured("here", Equipment(tiny_models, tiny_models, "cpu"))
    with connected(machines.address, "auto", 1, tmp_path / "there") as cluster:
        assert cluster.devices == ("cpu",)
        there = measured("there", Equipment(tiny_models, tiny_models, "cpu", cluster=cluster))
    assert there.statistics.keys() == here.statistics.keys()
    assert all((there.statistics[name] == here.statistics[name]).all() for name in here.statistics)
    assert there.samples == here.samples
    assert there.manifest == here.manifest


def test_a_folder_that_a_machine_does_not_see_is_named(machines: Machines, tmp_path: Path) -> None:
    mine = os.open(tmp_path, os.O_RDONLY)
    try:  # what this path leads to differs from process to process, as a local disk does from machine to machine
        with (
            pytest.raises(UsageError, match=r"127\.0\.0\.2\): does not see the folder of clips /proc/self/fd/"),
            connected(machines.address, "cpu", 1, Path(f"/proc/self/fd/{mine}")),
        ):
            pass
    finally:
        os.close(mine)
    assert not list(tmp_path.iterdir())


def test_more_workers_than_the_cluster_has_cpus_and_gpus_that_it_lacks(machines: Machines, tmp_path: Path) -> None:
    for wanted, workers, words in (
        ("cpu", 3, "--workers 3: this Ray cluster has 2 CPUs"),
        ("cuda", 1, "--device cuda: this Ray cluster has no GPU"),
        ("cuda:0", 1, "--device cuda:0: on a cluster Ray chooses the GPU"),
    ):
        with pytest.raises(UsageError, match=words), connected(machines.address, wanted, workers, tmp_path):
            pass


def test_the_loss_of_a_machine_is_no_clips_fault(machines: Machines, tmp_path: Path, calm: dict[str, str]) -> None:
    """The last test of the module: the cluster has one machine afterwards."""
    gone: list[int] = []

    def tell(event: Event) -> None:
        if event.kind == "finished" and not gone:
            gone.append(event.done)
            machines.ray_cluster.remove_node(machines.second, allow_graceful=False)

    job = Job(SPEC, tmp_path / "store", TASKS, Loading(STEPS, tmp_path / "diary"), interval=Interval(1, 0))
    settled = make(machines, job, tell=tell)
    assert gone
    assert digests(ClipStore(job.store)) == calm
    assert settled == dict.fromkeys((task.prompt for task in TASKS), None)


@pytest.mark.parametrize("address", ["auto", "local", "", "ray://head:10001", "head", "head:port"])
def test_only_a_cluster_whose_address_is_given_is_joined(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="expected --address HOST:PORT"), connected(address, "auto", 1, tmp_path):
        pass


def test_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; it comes with the extra `cluster`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UsageError, match=f"--address {address}: no Ray cluster can be joined there"):
        connected(address, "auto", 1, tmp_path).__enter__()


def test_a_machine_that_shares_files_but_no_locks_is_refused(tmp_path: Path) -> None:
    with subject._token(tmp_path) as token:
        seen = look(tmp_path, token)
    assert (seen.token, seen.locks) == (True, True)
    subject._check("gpu7", seen, tmp_path)
    (tmp_path / f".token-{token}").write_text(token)  # there, but locked by nobody
    unlocked = look(tmp_path, token)
    assert (unlocked.token, unlocked.locks) == (True, False)
    with pytest.raises(UsageError, match=r"gpu7: shares the folder of clips .*, but not its locks"):
        subject._check("gpu7", unlocked, tmp_path)


def test_a_machine_with_other_versions_is_refused(tmp_path: Path) -> None:
    versions = subject._versions() | {"torch": "1.0"}
    with pytest.raises(UsageError, match=r"gpu7: has torch 1\.0, this machine 2\."):
        subject._check("gpu7", Sight(True, True, versions, ()), tmp_path)


def test_another_machine_verifies_the_weights_it_has(tiny_models: Path, tmp_path: Path) -> None:
    spec = tiny_spec(tiny_models, pipelines=["tiny-wan-a"])
    (model,) = spec.models
    weights = {model.id: inspect_weights(tiny_models / model.id)}
    copytree(tiny_models / model.id, tmp_path / model.id)
    load = Load(weights, {model.id: model}, settings_of(spec), {model.id: None}, (tmp_path, None))
    watch = Engine(spec, ClipStore(tmp_path / "store")).watch
    assert load(model.id, "cpu", watch).device == "cpu"
    with (tmp_path / model.id / "scheduler" / "scheduler_config.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(ModelError, match=f"expected {model.manifest} in the spec"):
        load(model.id, "cpu", watch)


BLOCKED = """
import sys
sys.modules["ray"] = None  # as if it were not installed
from vdb_participant.cli import main; main()
"""


def test_the_command_line_says_what_is_missing(tmp_path: Path) -> None:
    words = ("--dir", tmp_path / "state", "run", tmp_path / "spec.toml", "--data", tmp_path)
    for options, says in (
        (("--engine", "ray"), "error: --engine ray: needs --address HOST:PORT of your institution's own Ray cluster"),
        (("--address", "a:1"), "error: --address: goes with --engine ray"),
        (("--engine", "slurm"), "error: --engine slurm: expected local or ray"),
        (("--engine", "ray", "--address", "a:1", "--context-parallel", "2"), "goes with --engine local"),
        (("--engine", "ray", "--address", "a:1"), "pip install 'video-diffusion-bench[cluster]'"),
    ):
        done = run(*words, *options, program=BLOCKED)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr.splitlines()[-1]
