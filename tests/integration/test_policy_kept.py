"""policy.toml binds whatever is done: enrolling, connecting, going on with a session, running models, consenting unasked."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import vdb_participant
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import no_passphrase, write_site
from testkit.sessions import SITES, Runs, consortium, kinds
from vdb_participant.commands import models, standing
from vdb_participant.embedded.scenes import write_site as write_clips
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure import generating
from vdb_participant.measure import site as measuring
from vdb_participant.session import keeping_hours
from vdb_participant.session.keeping_hours import Clock
from vdb_participant.site import enrolment
from vdb_participant.site.config import StateFolder
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.failpoints import Failpoints
from vdb_participant.site.institution import open_site
from vdb_participant.site.policy import DEFAULT_POLICY, parse_policy
from vdb_participant.site.storage import write_durably
from vdb_shared.errors import BudgetError, StoreError, UsageError
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Spec, parse_spec_toml
from vdb_shared.wire.enrolment import parse_invitation

ELSEWHERE = 'allowed_networks = ["hospital.example"]'


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


def with_rule(line: str) -> str:
    """Return the default policy with another line for one of its rules."""
    rule = line.split(" ", maxsplit=1)[0]
    old = next(found for found in DEFAULT_POLICY.splitlines() if found.removeprefix("# ").startswith(f"{rule} ="))
    return DEFAULT_POLICY.replace(old, line)


def test_what_was_tightened_after_consent_stops_what_goes_on_and_costs_nothing(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    first, *others = consortium(coordinator, tmp_path, waiting_seconds=300)
    runs = Runs()
    runs.start(*others)
    first.failpoints = Failpoints({"after-join": "error"})
    with pytest.raises(StoreError):
        first.take_part()
    first.failpoints = Failpoints()
    policy, consented = first.site.folder.policy, first.resources
    for line, words in (
        ("epsilon_per_session = 2", "epsilon_per_session allows 2, the spec asks for 8"),
        ("allowed_models = []", "allowed_models does not hold tiny-wan-a"),
        ("allowed_metrics = []", "allowed_metrics does not hold"),
        ('allowed_licences = ["MIT"]', "allowed_licences does not hold the licence of tiny-wan-a, which is not known"),
    ):
        write_durably(policy, with_rule(line).encode())
        first.site = open_site(first.site.folder, no_passphrase)
        with pytest.raises(UsageError, match=words):
            first.take_part()
    write_durably(policy, DEFAULT_POLICY.encode())
    first.site = open_site(first.site.folder, no_passphrase)
    first.resources = replace(consented, cluster="127.0.0.1:6379")
    with pytest.raises(UsageError, match="consented to make clips on this machine, and on no other"):
        first.take_part()
    assert (kinds(first), first.measure.calls) == ([], 0)
    first.resources = consented
    runs.start(first)
    runs.join()
    assert not runs.errors
    assert len(runs.outcomes) == SITES
    assert kinds(first) == ["debit"]


def test_who_has_no_hour_before_the_deadline_is_not_let_in_to_drop_out(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    later = datetime.now(UTC).astimezone() + timedelta(hours=12)
    rule = f'gpu_hours = ["daily {later:%H:%M}-{later + timedelta(hours=1):%H:%M}"]'
    write_durably(first.site.folder.policy, with_rule(rule).encode())
    first.site = open_site(first.site.folder, no_passphrase)
    with pytest.raises(BudgetError, match=r"gpu_hours .* leaves no time until clips must be measured, at the latest"):
        first.take_part()
    assert not first.folder.exists()


def test_nobody_enrols_at_an_address_that_the_policy_does_not_hold(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    invited = parse_invitation(coordinator.admin.invite("clinic"))
    away = invited.model_copy(update={"address": "vdb.example.org:7443"})
    folder = StateFolder(tmp_path / "state")
    folder.path.mkdir()
    folder.policy.write_text(with_rule(ELSEWHERE))
    with pytest.raises(
        BudgetError, match=r"does not hold vdb\.example\.org:7443, the coordinator's address; nothing was"
    ):
        enrolment.begin(folder, away, None, datetime.now(UTC))
    assert [path.name for path in folder.path.iterdir()] == ["policy.toml"]
    folder.policy.write_text(with_rule('allowed_networks = ["example.org"]'))
    enrolment.begin(folder, away, None, datetime.now(UTC))


def test_a_site_does_not_connect_to_an_address_that_the_policy_does_not_hold(
    coordinator: RunningCoordinator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_site(tmp_path / "site", coordinator.identities[0], "vdb.example.org:7443")
    site.folder.policy.write_text(with_rule(ELSEWHERE))
    with pytest.raises(BudgetError, match=r"allowed_networks does not hold vdb\.example\.org:7443"):
        open_site(site.folder, no_passphrase)
    standing.show(site.folder, "", as_json=False)
    assert "allowed_networks does not hold vdb.example.org:7443" in capsys.readouterr().out
    assert not EgressJournal(site.folder.egress).read().entries


@pytest.mark.parametrize(
    ("line", "source", "words"),
    [
        (ELSEWHERE, models.Source(), r"does not hold huggingface\.co:443, the hub of weights"),
        (
            ELSEWHERE,
            models.Source(mirror="https://hub.elsewhere.example"),
            r"does not hold hub\.elsewhere\.example:443",
        ),
        ('allowed_licences = ["MIT"]', models.Source(Path("here")), r"allowed_licences does not hold Apache-2\.0"),
    ],
)
def test_weights_are_not_fetched_from_elsewhere_nor_under_another_licence(
    line: str, source: models.Source, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    row = load_registry().rows["wan2.1-t2v-1.3b"]
    with pytest.raises(BudgetError, match=words):
        models.check_fetch(parse_policy(with_rule(line)), row, source)
    models.check_fetch(parse_policy(DEFAULT_POLICY), row, source)


class Night:
    """A clock whose time passes only while somebody waits, or as told.

    Attributes:
        now: the time.
        waits: when somebody began to wait.
        loaded: models and extractors that were loaded.
    """

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self.waits: list[datetime] = []
        self.loaded: list[weakref.ref[object]] = []

    def loading(self, load: Callable[..., object]) -> Callable[..., object]:
        def remembered(*given: object, **named: object) -> object:
            found = load(*given, **named)
            self.loaded.append(weakref.ref(found))
            return found

        return remembered

    def pause(self, seconds: float) -> None:
        assert not [found for found in self.loaded if found() is not None], "memory was not given back"
        if not self.waits or self.now - self.waits[-1] > timedelta(hours=24):
            self.waits.append(self.now)
        self.now += timedelta(seconds=max(seconds, 3600))

    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.pause)


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this machine's clock on the wall show UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def small(tmp_path: Path) -> tuple[Spec, Path]:
    """A spec of two models and two prompts, and data."""
    text = (Path(__file__).parents[2] / "docs" / "notebook.toml").read_text()
    spec = parse_spec_toml(text)
    spec = spec.model_copy(update={"prompts": spec.prompts[:2]})
    write_clips(tmp_path / "data", site=0, clips=2)
    return spec, tmp_path / "data"


@pytest.mark.usefixtures("in_utc")
def test_a_run_waits_for_its_hours_and_gives_what_an_undisturbed_one_gives(
    small: tuple[Spec, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, data = small
    undisturbed = vdb_participant.run(spec, data, folder=tmp_path / "free")
    folder, night = StateFolder(tmp_path / "night"), Night()
    folder.path.mkdir()
    folder.policy.write_text(with_rule('gpu_hours = ["daily 22:00-06:00"]'))
    monkeypatch.setattr(keeping_hours, "Clock", night.clock)
    for module, name in ((generating, "load_generator"), (measuring, "load_extractor")):
        monkeypatch.setattr(module, name, night.loading(getattr(module, name)))
    put: Callable[..., object] = ClipStore.put
    made: list[str] = []

    def counting(store: ClipStore, key: object, *rest: object, **named: object) -> object:
        made.append(str(key))
        night.now += timedelta(hours=5)  # of the night's eight: it ends in every second clip
        return put(store, key, *rest, **named)

    monkeypatch.setattr(ClipStore, "put", counting)
    disturbed = vdb_participant.run(spec, data, folder=folder.path)
    assert len(made) == len(set(made)) == 2 * len(spec.models), "no clip is made twice"
    assert len(night.waits) >= 2
    assert len(night.loaded) > 2 * len(spec.models), "loaded again each night"
    said = capsys.readouterr().err
    assert "waiting until" in said
    assert "stopped at the end of a clip" in said
    for before, after in zip(undisturbed.rows, disturbed.rows, strict=True):
        assert {name: before[name] for name in ("metric", "model", "value")} == {
            name: after[name] for name in ("metric", "model", "value")
        }
