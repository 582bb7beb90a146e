"""What an agent refuses before it promises anything: nothing is sent, nothing is debited, no session folder is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import Institution, no_passphrase, session_spec, write_prompts, write_site
from testkit.sessions import SITES, Runs, consortium, kinds
from vdb_coordinator.serving import conductor
from vdb_participant.agent import participate, take_part
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.session.consent import Plan
from vdb_participant.session.preparation import Resources
from vdb_participant.site.institution import open_site
from vdb_participant.site.storage import write_durably
from vdb_shared.errors import BudgetError, DatasetError, ModelError, PrivacyError, SessionAbortedError, UsageError
from vdb_shared.spec import Spec
from vdb_shared.wire.status import Phase


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


def assert_nothing_happened(institution: Institution) -> None:
    assert not institution.folder.exists()
    assert institution.measure.calls == 0
    assert kinds(institution) == []
    with Client(Connection(institution.site.config.address, institution.site.tls, institution.site.egress)) as client:
        status = client.details(institution.session).status
    assert status.phase is Phase.ACCEPTING
    assert {site.stage for site in status.sites} == {"has not joined"}


def test_a_spec_without_noise(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    first, *_ = consortium(coordinator, tmp_path, mechanism="none")
    with pytest.raises(PrivacyError, match="mechanism none"):
        participate(first.site, first.session, first.resources.data, first.resources.models)
    assert_nothing_happened(first)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "epsilon_total = 20",
            "epsilon_total = 7",
            r"the session would cost rho .* is spent; see `vdb-participant budget`",
        ),
        ("epsilon_per_session = 8", "epsilon_per_session = 2", "epsilon_per_session allows 2, the spec asks for 8"),
    ],
)
def test_a_budget_that_is_too_small(
    coordinator: RunningCoordinator, tmp_path: Path, old: str, new: str, words: str
) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    policy = first.site.folder.policy
    write_durably(policy, policy.read_bytes().replace(old.encode(), new.encode()))
    first.site = open_site(first.site.folder, no_passphrase)
    with pytest.raises(BudgetError, match=words):
        first.take_part()
    assert_nothing_happened(first)


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("privacy", {"delta": Decimal("0.001")}, r"privacy\.delta: 0\.001 is above 0\.1 / \d+ records .*; lower it"),
        ("privacy", {"epsilon": Decimal("0.0001")}, r"privacy\.epsilon: 0\.0001 at delta .* needs more noise than is"),
        ("cohort", {"minimum": 6}, r"cohort\.minimum: 6 institutions must join, only 4 did"),
    ],
)
def test_a_promise_that_nobody_can_keep_although_the_coordinator_opened_it(
    coordinator: RunningCoordinator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    section: str,
    changes: dict[str, object],
    words: str,
) -> None:
    monkeypatch.setattr(conductor, "check_keepable", lambda _spec, _roster: None)
    spec = session_spec(tmp_path / "models")
    spec = spec.model_copy(update={section: getattr(spec, section).model_copy(update=changes)})
    site = write_site(tmp_path / "site", coordinator.identities[0], coordinator.address)
    resources = Resources(write_prompts(tmp_path / "data", 0), tmp_path / "models")
    institution = Institution(site, resources, coordinator.admin.create_session(spec))
    with pytest.raises(PrivacyError, match=words):
        institution.take_part()
    assert_nothing_happened(institution)


def test_changed_weights(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    (tmp_path / "models" / "tiny-wan-b" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ModelError, match=r"tiny-wan-b: expected sha256:.* found sha256:"):
        first.take_part()
    assert_nothing_happened(first)


def test_data_without_what_the_spec_needs(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    first.resources = replace(first.resources, data=tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="nowhere: expected a data folder, found none; name the one with clips/"):
        first.take_part()
    assert_nothing_happened(first)


class DeclinedError(Exception):
    """Somebody said no."""


def test_declining(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    first, *_ = consortium(coordinator, tmp_path)

    def decline(plan: Plan) -> None:
        assert "WHAT LEAVES" in plan.text
        raise DeclinedError

    with (
        Client(Connection(first.site.config.address, first.site.tls, first.site.egress)) as client,
        pytest.raises(DeclinedError),
    ):
        take_part(first.site, client, replace(first.request(), consent=decline))
    assert_nothing_happened(first)


def test_a_device_that_is_not_there(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    first.resources = replace(first.resources, device="cuda:63")
    with pytest.raises(UsageError, match=r"device cuda:63: this machine shows \d+ CUDA devices"):
        first.take_part()
    assert_nothing_happened(first)


def test_a_licence_that_is_not_accepted(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    """Nothing is run before that, be it to time it: these stand-ins for weights could not be."""
    first, *_ = consortium(coordinator, tmp_path)
    first.resources = replace(first.resources, timed=True)
    seen: list[str] = []

    def refuse(spec: Spec) -> None:
        seen.extend(model.id for model in spec.models)
        raise UsageError("read it and say --accept-licence")

    with (
        Client(Connection(first.site.config.address, first.site.tls, first.site.egress)) as client,
        pytest.raises(UsageError, match="read"),
    ):
        take_part(first.site, client, replace(first.request(), licences=refuse))
    assert seen
    assert_nothing_happened(first)


def test_weights_that_cannot_be_loaded_are_noticed_when_they_are_timed(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    first.resources = replace(first.resources, timed=True)
    with pytest.raises(ModelError, match=r"tiny-wan-a/model_index.json: expected the index of a diffusers pipeline"):
        first.take_part()
    assert_nothing_happened(first)
    assert not first.site.folder.timing.exists()


def test_a_session_that_does_not_exist(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    with pytest.raises(UsageError, match="0000"):
        Institution(first.site, first.resources, "0000").take_part()
    assert_nothing_happened(first)


def test_coming_too_late(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    institutions = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*institutions)
    runs.join()
    other = write_site(tmp_path / "again", coordinator.identities[0], coordinator.address)
    with pytest.raises(SessionAbortedError, match="takes no more institutions: published"):
        Institution(other, institutions[0].resources, institutions[0].session).take_part()
