"""Mistakes in policy.toml, and rules in it that cannot mean what they seem to, each with its line.

Promises that what is called an error is what `policy.py` refuses. Leaves judging a spec to `policy.check_policy`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import ValidationError

from vdb_participant.site.policy import ANY, DEFAULT_POLICY, PolicyFile
from vdb_shared.schema_words import in_words
from vdb_shared.toml_lines import line_of, toml_problem


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to look at.

    Attributes:
        line: in the file, from 1, or None where it cannot be told.
        field: the rule, or "".
        words: what is wrong and what to do.
        error: whether the policy is refused; else it is only odd.
    """

    line: int | None
    field: str
    words: str
    error: bool


def lint(text: str, metrics: Collection[str], models: Mapping[str, str]) -> tuple[Remark, ...]:
    """Return what is to be said of a policy; nothing if all is well.

    Args:
        text: of policy.toml.
        metrics: ids that the catalogue has.
        models: ids that the site's registry has, each with the name of its licence.
    """
    try:
        rules = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        return (Remark(None, "", f"is {toml_problem(text, error)}", True),)
    mistakes: list[Remark] = []
    try:
        policy = PolicyFile.model_validate(rules)
    except ValidationError as error:
        mistakes = [*_mistakes(text, error)]
        policy = _without(rules, {str(item["loc"][0]) for item in error.errors(include_url=False)})
    odd = [] if mistakes else [*_contradictions(policy)]
    odd += _odd_lists(policy, metrics, models)
    return (*mistakes, *(Remark(line_of(text, field), field, words, False) for field, words in odd))


def _without(rules: Mapping[str, object], wrong: Collection[str]) -> PolicyFile:
    """Return a policy that has the rules that are not wrong, and else those that a new policy has."""
    usable = {name: rule for name, rule in rules.items() if name not in wrong}
    return PolicyFile.model_validate(tomllib.loads(DEFAULT_POLICY, parse_float=Decimal) | usable)


def _odd_lists(policy: PolicyFile, metrics: Collection[str], models: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what cannot mean what it seems to in lists of what is allowed."""
    yield from _unknown("allowed_metrics", policy.allowed_metrics, metrics, "`vdb-participant metrics list`")
    yield from _unknown("allowed_models", policy.allowed_models, models, "`vdb-participant models list`")
    licences = set(models.values())
    yield from _unknown("allowed_licences", policy.allowed_licences, licences, "`vdb-participant models list`")
    yield from _odd_networks(policy.allowed_networks)


def _mistakes(text: str, error: ValidationError) -> Iterator[Remark]:
    mistakes = error.errors(include_url=False)
    unknown = [str(item["loc"][0]) for item in mistakes if item["type"] == "extra_forbidden"]
    meant = {name: near for name in unknown for near in difflib.get_close_matches(name, PolicyFile.model_fields, n=1)}
    for item in mistakes:
        field = str(item["loc"][0])
        if item["type"] == "missing" and field in meant.values():
            continue  # the misspelt one says it
        words = in_words(item)
        if item["type"] == "extra_forbidden":
            words = f"is no rule; did you mean {meant[field]}?" if field in meant else "is no rule"
        yield Remark(line_of(text, field), field, words, True)


def _contradictions(policy: PolicyFile) -> Iterator[tuple[str, str]]:
    """Yield rules that another rule makes meaningless."""
    if policy.epsilon_per_session > policy.epsilon_total:
        words = f"is more than epsilon_total, {policy.epsilon_total}: a session of this cost is refused all the same"
        yield "epsilon_per_session", words
    needed = policy.minimum_honest + policy.minimum_collusion
    if policy.minimum_cohort < needed:
        words = f"is less than minimum_honest and minimum_collusion together, {needed}, which decide"
        yield "minimum_cohort", words
    if policy.delta >= Decimal("0.0001"):
        yield (
            "delta",
            f"is {policy.delta}: it should be far below one divided by the number of records, such as 0.000001",
        )


def _unknown(field: str, allowed: Sequence[str], known: Collection[str], where: str) -> Iterator[tuple[str, str]]:
    if not allowed:
        yield field, 'is empty, so every session is refused; "*" allows all'
    if ANY in allowed and len(allowed) > 1:
        yield field, '"*" allows all, so the other names mean nothing'
    for name in allowed:
        if name != ANY and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"see {where}"
            yield field, f"{name} is not known here; {hint}"


def _odd_networks(allowed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield rules that can cover no address."""
    field = "allowed_networks"
    if not allowed:
        yield field, 'is empty, so the coordinator cannot be reached either; "*" allows all'
    if ANY in allowed and len(allowed) > 1:
        yield field, '"*" allows all, so the other rules mean nothing'
