"""A site without a network beside a running coordinator: its relay, the folder between them, and who carries it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pytest

from testkit.coordinator import RunningCoordinator
from testkit.institutions import Institution, no_passphrase, write_prompts
from vdb_participant.agent import Outcome
from vdb_participant.commands.reaching import Offline, carriage
from vdb_participant.network.client import Client
from vdb_participant.offline.channel import Carriage
from vdb_participant.offline.files import Call, Parties, Reply, decode_answer, decode_request, encode_answer
from vdb_participant.offline.relay import Carried, Relay
from vdb_participant.offline.relay_folder import RelayFolder, parse_offer, prepare
from vdb_participant.session.preparation import Resources
from vdb_participant.site import enrolment
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import open_site
from vdb_participant.site.signing import open_signer
from vdb_participant.site.storage import write_durably
from vdb_shared.errors import AwaitedAnswerError
from vdb_shared.wire.enrolment import parse_invitation


def _quiet(_line: str) -> None:
    """Say nothing."""


@dataclass
class OfflineSite:
    """A site, its relay, and the folder that is carried; `ways` counts how often it was carried to the relay."""

    path: Path
    name: str
    institution: Institution | None = None
    ways: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def exchange(self) -> Path:
        return self.path / "stick"

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.path / "site")

    @property
    def relay_folder(self) -> RelayFolder:
        return RelayFolder(self.path / "relay")

    def carry(self, *, wait: bool = True) -> Carried:
        """Carry the folder to the relay and back."""
        self.ways += 1
        return Relay(self.relay_folder, self.exchange, wait, self.said.append).carry()

    def carriage(self, address: str, consortium: str) -> Carriage:
        """Return the site's calls as files."""
        signer = open_signer(self.state, no_passphrase)
        self.exchange.mkdir(parents=True, exist_ok=True)
        return carriage(
            self.state, Offline(self.exchange, False, _quiet), Parties(consortium, self.name), address, signer
        )

    def enrol(self, coordinator: RunningCoordinator) -> None:
        """Become a member by files."""
        offer = parse_offer(prepare(self.relay_folder, parse_invitation(coordinator.admin.invite(self.name))))
        part = enrolment.RelayPart(offer.certificate_request, offer.relay_key)
        request = enrolment.begin(self.state, offer.invitation, None, datetime.now(UTC), part)
        calls = self.carriage(coordinator.address, offer.invitation.consortium)
        carried(self, lambda: enrolment.submit(request, calls), wait=False)
        coordinator.admin.approve(self.name, request.fingerprint)
        found = carried(self, lambda: enrolment.ask(request, calls), wait=False)
        assert found is not None
        enrolment.finish(self.state, request, found, no_passphrase, datetime.now(UTC))

    def meet(self, session: str, models: Path) -> Institution:
        """Return the site's agent in a session, with data of its own."""
        data = self.path / "data"
        if not data.exists():
            write_prompts(data, 99)
        self.institution = Institution(open_site(self.state, no_passphrase), Resources(data, models), session)
        return self.institution

    def life(self) -> Outcome:
        """Run the agent once, in a fresh life: to its end, or until something is to be carried."""
        assert self.institution is not None
        config = self.institution.site.config
        with Client(self.carriage(config.address, config.consortium)) as link:
            return self.institution.take_part(link)

    def take_part(self, on_the_way: Callable[[], None] = lambda: None) -> Outcome:
        """Run the agent to its end, carrying whenever it says so; `on_the_way` is called on each way back."""
        while True:
            try:
                return self.life()
            except AwaitedAnswerError:
                self.carry()
                on_the_way()

    def outbox(self) -> list[Path]:
        return sorted((self.exchange / "outbox").glob("*.request"))

    def inbox(self) -> list[Path]:
        return sorted((self.exchange / "inbox").glob("*.answer"))

    @property
    def parties(self) -> Parties:
        return self.relay_folder.read().parties

    def questions(self) -> list[Call]:
        """Return the calls of every request in the outbox."""
        key = open_signer(self.state, no_passphrase).public_key
        requests = [decode_request(place.read_bytes(), self.parties, key)[0] for place in self.outbox()]
        return [call for request in requests for call in request.calls]

    def carry_until_done(self) -> None:
        """Carry the folder, to a relay that may die on the way."""
        while True:
            try:
                self.carry()
            except DiedError:
                self.ways -= 1
            else:
                return

    def resign(self, change: Callable[[Reply], Reply]) -> None:
        """Change the newest answer as a relay can that has its own key: signed anew, so that the file is as good as any."""
        place, signer = self.inbox()[-1], self.relay_folder.signer()
        answer = decode_answer(place.read_bytes(), self.parties, signer.public_key)
        changed = replace(answer, replies=tuple(map(change, answer.replies)))
        place.write_bytes(encode_answer(changed, self.parties, signer))


class DiedError(Exception):
    """The process ended in the middle of a write."""


def dying(monkeypatch: pytest.MonkeyPatch, module: ModuleType, every: int) -> None:
    """Let a module die at every so-manieth file that it writes: before the write, and the next time after it."""
    calls = itertools.count(1)
    write = write_durably

    def written(path: Path, data: bytes) -> None:
        number = next(calls)
        if number % (2 * every) == every:
            raise DiedError
        write(path, data)
        if number % (2 * every) == 0:
            raise DiedError

    monkeypatch.setattr(module, "write_durably", written)


T = TypeVar("T")


def carried(site: OfflineSite, act: Callable[[], T], *, wait: bool) -> T:
    """Return what an act returns once everything that it asks was carried."""
    while True:
        try:
            return act()
        except AwaitedAnswerError:
            site.carry(wait=wait)
