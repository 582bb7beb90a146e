"""What people's ratings add to sums: one bounded share for each rater.

Promises that however many ratings a person gave, they weigh as much together as those of any other person, so that a rater
more or less changes each block by at most its bound: what the metric says of a clip does not depend on who rated it. Leaves
which ratings count to data/ratings.py.

Source: protos/README.md §7.1, §8.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.ratings import Ratings, Score, Vote, by_rater
from vdb_participant.measure.observation import Observation
from vdb_participant.measure.scores import SCORES
from vdb_shared.errors import StatisticError
from vdb_shared.layout import measured_definition, rating_block
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.correlation import correlation_share
from vdb_shared.metrics.features import rescale
from vdb_shared.metrics.preference import preference_share
from vdb_shared.spec import Metric, Model, Spec
from vdb_shared.tasks import ClipTask

Share = tuple[str, NDArray[np.float64]]
"""Block and what is added to it."""

Clip = tuple[str, str, int]
"""Model, id of the prompt, sample."""


class Judging:
    """Ratings on their way into sums."""

    def __init__(self, spec: Spec, ratings: Ratings) -> None:
        """Start without any clip measured.

        Args:
            spec: the spec.
            ratings: those that it uses.
        """
        self._ratings = ratings
        self._models = [model.id for model in spec.models]
        self._metrics = [metric for metric in spec.metrics if metric.inputs == "ratings"]
        self._measured = next((metric for metric in self._metrics if metric.of is not None), None)
        self._scores: dict[Clip, float] = {}
        starts, prompts = {model.id: model.start for model in spec.models}, {item.id: item for item in spec.prompts}
        self._clips: dict[ClipTask, list[Clip]] = {}
        for model, name, sample in dict.fromkeys(_clip(score) for score in ratings.scores):
            condition = (prompts[name].condition or "") if starts[model] else ""
            task = ClipTask(model, prompts[name].text, sample, condition)
            self._clips.setdefault(task, []).append((model, name, sample))

    def tasks(self, model: Model) -> tuple[ClipTask, ...]:
        """Return the clips of a model that people scored, which must be measured here, wherever they count."""
        return tuple(task for task in self._clips if task.model == model.id)

    def take(self, task: ClipTask, clip: Observation | None) -> None:
        """Measure a clip that people scored.

        Args:
            task: one of `tasks`.
            clip: the clip; None where it could not be made. Without a score of the metric what people say of it is left out.
        """
        if clip is None or self._measured is None:
            return
        try:
            score = metric_score(self._measured, clip)
        except StatisticError:
            return
        for name in self._clips[task]:
            self._scores[name] = score

    def shares(self) -> Iterator[Share]:
        """Yield what each rater adds."""
        for metric in self._metrics:
            if definition_of(metric.id).finish == "preference":
                for votes in by_rater(self._ratings.votes).values():
                    yield rating_block(metric.id, "wins"), preference_share(wins_of(votes, self._models))
            else:
                for scores in by_rater(self._ratings.scores).values():
                    yield from self._correlation(metric, scores)

    def _correlation(self, metric: Metric, scores: Sequence[Score]) -> Iterator[Share]:
        both = [(score, self._scores[_clip(score)]) for score in scores if _clip(score) in self._scores]
        if both:
            pairs = np.array([[2.0 * found - 1.0, 2.0 * score.score - 1.0] for score, found in both])
            places = np.array([self._models.index(score.model) for score, _ in both])
            yield rating_block(metric.id, "moments"), correlation_share(pairs, places, len(self._models))


def metric_score(metric: Metric, clip: Observation) -> float:
    """Return the score that a clip gets from the metric that is correlated with people's scores, on [0, 1].

    Raises:
        StatisticError: there is none, or it is not finite.
    """
    measured = measured_definition(metric)
    high = measured.high if measured.high is not None else metric.limit
    if high is None:
        raise ValueError(f"{measured.id} without a limit passed the layout")
    return rescale(SCORES[measured.id](clip, metric.extractor or ""), float(measured.low), float(high))


def wins_of(votes: Sequence[Vote], models: Sequence[str]) -> NDArray[np.float64]:
    """Return how often each model was preferred to each other one, shape (M, M); a tie is one half for both.

    Args:
        votes: of one rater.
        models: ids, in the order of rows and columns.
    """
    places = {model: place for place, model in enumerate(models)}
    wins = np.zeros((len(models), len(models)))
    for vote in votes:
        first, second = places[vote.first], places[vote.second]
        wins[first, second] += {"first": 1.0, "tie": 0.5, "second": 0.0}[vote.choice]
        wins[second, first] += {"first": 0.0, "tie": 0.5, "second": 1.0}[vote.choice]
    return wins


def _clip(score: Score) -> Clip:
    return score.model, score.prompt, score.sample
