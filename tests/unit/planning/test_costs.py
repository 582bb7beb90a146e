"""Bytes and clips of a plan are those of real sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import pytest

from testkit.bundles import sample_bundle
from testkit.consortium import Consortium, Network, inputs_for, parameters
from testkit.metric_specs import CLIP_SCORE, FLICKERING, FRECHET, make_spec
from testkit.small_specs import small_spec
from vdb_coordinator.rounds import ConsistencySigned, InputMasked, KeysAdvertised, KeysShared, Message, SharesRevealed
from vdb_shared.planning.assumptions import assume, counts_of, scenario_of
from vdb_shared.planning.costs import round_bytes, traffic_of, work_of
from vdb_shared.planning.guess import default_guesses
from vdb_shared.planning.population import population_of
from vdb_shared.planning.prediction import forecast
from vdb_shared.privacy.accountant import account
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import Stage
from vdb_shared.tasks import checked_tasks, public_tasks, shard


def size(signed: Signed) -> int:
    return len(signed.body) + len(signed.signature)


class Counting(Network):
    """Counts what every participant sends and receives."""

    def __init__(self) -> None:
        self.sent: Counter[Seat] = Counter()
        self.received: Counter[Seat] = Counter()

    def up(self, message: Message) -> Message:
        match message:
            case KeysAdvertised(seat, signed) | SharesRevealed(seat, signed):
                self.sent[seat] += size(signed)
            case KeysShared(seat, header, sealed):
                self.sent[seat] += size(header) + sum(map(len, sealed.values()))
            case InputMasked(seat, header, masked):
                self.sent[seat] += size(header) + len(masked)
            case ConsistencySigned(seat, signature):
                self.sent[seat] += len(signature)
            case _:
                raise AssertionError(message)
        return message

    def down(self, seat: Seat, stage: Stage, messages: Mapping[Seat, Signed]) -> Mapping[Seat, Signed]:
        self.received[seat] += sum(map(size, messages.values()))
        return messages

    def sealed(self, seat: Seat, sealed: Mapping[Seat, bytes]) -> Mapping[Seat, bytes]:
        self.received[seat] += sum(map(len, sealed.values()))
        return sealed

    def signatures(self, seat: Seat, signatures: Mapping[Seat, bytes]) -> Mapping[Seat, bytes]:
        self.received[seat] += sum(map(len, signatures.values()))
        return signatures


@pytest.mark.parametrize(("joined", "gone", "lanes"), [(4, 0, 5), (5, 1, 5000)])
def test_bytes_of_the_rounds_are_those_of_a_real_session(joined: int, gone: int, lanes: int) -> None:
    sealed, network = parameters(joined, lanes=lanes), Counting()
    Consortium(sealed, inputs_for(sealed), network=network).run(dict.fromkeys(range(gone), Stage.MASKED_INPUT))
    up, down, received, sent = round_bytes(joined, joined - gone, lanes)
    assert network.sent[joined - 1] == up
    assert network.received[joined - 1] == down
    assert network.sent.total() == received
    assert network.received.total() == sent


def test_a_bundle_is_as_large_as_predicted() -> None:
    spec = small_spec()
    scenario = scenario_of(spec, assume(spec, participants=5, dropout=Decimal("0.2"), prompts=400))
    found = forecast(scenario, population_of(spec, default_guesses(spec)), sessions=1, evaluated=1)
    traffic = traffic_of(scenario, found.evaluations[0], account(scenario.terms.calibration))
    assert traffic.bundle == pytest.approx(len(sample_bundle()), rel=0.1)


def test_clips_are_those_that_sites_are_given() -> None:
    spec = make_spec(
        [FLICKERING, FRECHET, CLIP_SCORE | {"inputs": "private"}],
        models=["alpha", "beta", "gamma"],
        generation={"samples": 3, "private_share": "0.25", "checked_share": "0.2"},
    )
    sites, staying = 7, 6
    assumed = assume(spec, participants=sites, dropout=Decimal("0.15"), records=100, prompts=80)
    counts = counts_of(spec, assumed)
    assert assumed.survivors == staying
    made = [task for place in range(staying) for task in shard(public_tasks(spec), place, sites)]
    assert counts.public == Counter(task.model for task in made)
    assert counts.reference == 600
    assert counts.private == 6 * 20 * 3
    work = work_of(scenario_of(spec, assumed), {"alpha": 2.0, "beta": 4.0, "gamma": 6.0})
    assert sum(model.public for model in work.models) == len(public_tasks(spec))
    assert sum(model.checked for model in work.models) == len(checked_tasks(spec, sites))
    assert work.clips == len(public_tasks(spec)) + len(checked_tasks(spec, sites)) + sites * 3 * 60
    seconds = {"alpha": 2.0, "beta": 4.0, "gamma": 6.0}
    assert work.hours == pytest.approx(sum(model.clips(sites) * seconds[model.model] for model in work.models) / 3600)
    assert work.steps == work.clips * spec.generation.steps


def test_hours_are_unknown_rather_than_invented() -> None:
    spec = make_spec([FLICKERING])
    work = work_of(scenario_of(spec, assume(spec)), {"alpha": 1.0})
    assert work.hours is None
    assert work.unknown == ("beta",)
