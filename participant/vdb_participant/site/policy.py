"""The site's own rules for its privacy: policy.toml, which no spec can override.

Promises that a session which the rules do not allow is refused before any work. Leaves the sum over sessions to the ledger.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vdb_participant.network.hosts import check_rule, covers, is_this_machine
from vdb_participant.site.config import StateFolder
from vdb_participant.site.hours import Hours, parse_hours
from vdb_shared.errors import BudgetError, UsageError
from vdb_shared.privacy.accountant import rho_within
from vdb_shared.registry.classes import EXTERNAL
from vdb_shared.registry.external import Endpoint
from vdb_shared.registry.rows import Registry
from vdb_shared.schema_words import first_mistake
from vdb_shared.secagg.parameters import smallest_cohort
from vdb_shared.spec import Spec
from vdb_shared.toml_lines import toml_problem

DEFAULT_POLICY: Final = """\
# This institution's own rules. No benchmark spec can override them; a session that breaks one is refused before any work.

# Largest epsilon of one session, and of all sessions that count together (at `delta`, by zCDP composition).
epsilon_per_session = 8
epsilon_total = 20
delta = 1e-6

# Which earlier sessions count. "overlapping": those whose data shared a video file or a prompt with the data of the new
# session, wherever the folder lay and whatever was added to it or taken away since; data that share nothing have budgets
# of their own. A video in another encoding, or a prompt in other words, is NOT recognised as the same. Where records may
# come again in another form, or one person is in several files: "site", and every session counts against every other.
# Words and a video are known to belong together once one line of prompts.jsonl has named both in a session. Where each was in
# sessions of its own before, each may have cost up to the cap, and the two together up to TWICE epsilon_total; no session that
# reads both is admitted then. Name the video beside its words from the first session on, or choose "site".
charge = "overlapping"

# Fewest institutions in a sum; fewest of them, ours included, that are not in league with the coordinator and do add noise;
# and how many such institutions a spec must at least reckon with (its cohort.collusion).
minimum_cohort = 3
minimum_honest = 2
minimum_collusion = 1

# Metrics and models that may be run on our data; "*" allows all.
allowed_metrics = ["*"]
allowed_models = ["*"]

# Licences under which models may run here, as `vdb-participant models list` names them ("*": all, also models whose licence
# nobody knows); each is still shown, and accepted by a person, before its model runs for the first time.
allowed_licences = ["*"]

# Addresses that the agent may connect to: the coordinator's, endpoints of models, a Ray cluster, a hub of weights. Names (with
# their subdomains) and IP networks, as they stand in files and options, with ":port" or without; this machine always is.
allowed_networks = ["*"]

# When models may run on this machine's devices, by its own clock; without this line at all hours. What is under way ends at
# the end of a clip, gives its memory back, and goes on when the hours begin again.
# gpu_hours = ["Mon-Fri 19:00-07:00", "Sat,Sun 00:00-24:00"]

# Whether `join --yes` may consent to a session without a person who is asked. All rules of this file hold all the same.
unattended_consent = false

# For how many days the list of what was measured in a session is kept, so that spot checks of it can be answered
# (`vdb-participant prove-sample`). It names private prompts and files. Without this line it is kept for ever.
# samples_days = 1095
"""

ANY: Final = "*"

_PORTS: Final = {"https": 443, "http": 80}

Charging = Literal["overlapping", "site"]
"""Which sessions count against a data set: those that read a record of it, or all of the site's."""


def _real(value: object) -> object:
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _window(line: str) -> str:
    parse_hours([line])
    return line


def _hours(lines: list[str]) -> list[str]:
    parse_hours(lines)
    return lines


def _network(rule: str) -> str:
    check_rule(rule)
    return rule


Real = Annotated[Decimal, BeforeValidator(_real)]


class PolicyFile(BaseModel):
    """policy.toml.

    Attributes:
        epsilon_per_session: largest epsilon of one session.
        epsilon_total: largest epsilon of all sessions that count together.
        delta: at which both are judged.
        charge: which sessions count together, chosen by the site: no spec and no coordinator has a say in it.
        minimum_cohort: n_min, fewest institutions in a sum, when as few join as the spec allows.
        minimum_honest: n_min - c, fewest of them that do not collude with the coordinator.
        minimum_collusion: smallest c of a spec: it is the lead who writes c, and everything rests on it.
        samples_days: how long lists for spot checks are kept; for ever if None.
        allowed_metrics, allowed_models: ids, or "*" for all; a metric that is correlated with people's scores is one of them.
        allowed_licences: names of licences, or "*" for all and for none that is known.
        allowed_networks: addresses that the agent may connect to, rules as `network/hosts.py` reads them.
        gpu_hours: when models may run, lines as `site/hours.py` reads them; at all hours if None.
        unattended_consent: whether `join --yes` may consent.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    epsilon_per_session: Real = Field(gt=0)
    epsilon_total: Real = Field(gt=0)
    delta: Real = Field(gt=0, lt=Decimal("0.01"))
    charge: Charging = "overlapping"
    minimum_cohort: int = Field(ge=3)
    minimum_honest: int = Field(default=2, ge=2)
    minimum_collusion: int = Field(default=1, ge=1)
    samples_days: int | None = Field(default=None, ge=1, le=36_500)
    allowed_metrics: list[str]
    allowed_models: list[str]
    allowed_licences: list[str] = [ANY]
    allowed_networks: list[Annotated[str, AfterValidator(_network)]] = [ANY]
    gpu_hours: Annotated[list[Annotated[str, AfterValidator(_window)]], AfterValidator(_hours)] | None = None
    unattended_consent: bool = False

    @property
    def hours(self) -> Hours | None:
        """When models may run; None for all hours."""
        return None if self.gpu_hours is None else parse_hours(self.gpu_hours)

    @property
    def rho_cap(self) -> Decimal:
        """The largest sum of rho that `epsilon_total` allows."""
        return rho_within(self.epsilon_total, self.delta)


def check_cost(policy: PolicyFile, rho: Decimal) -> None:
    """Refuse a session that costs more than one session may, whatever delta its spec names.

    Raises:
        BudgetError: names the rule and both costs.
    """
    allowed = rho_within(policy.epsilon_per_session, policy.delta)
    if rho > allowed:
        raise BudgetError(
            f"policy.toml: epsilon_per_session allows epsilon {policy.epsilon_per_session} at delta {policy.delta} (rho "
            f"{allowed}), the session costs rho {rho}; decline, or change the policy"
        )


def parse_policy(text: str, *, file: str = "policy.toml") -> PolicyFile:
    """Return the policy written in TOML.

    Raises:
        UsageError: with file and field of the first mistake.
    """
    try:
        return PolicyFile.model_validate(tomllib.loads(text, parse_float=Decimal))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: {toml_problem(text, error)}") from error
    except ValidationError as error:
        raise UsageError(
            f"{file}: {first_mistake(error)}; correct the file, which `vdb-participant policy lint` explains"
        ) from error


def read_policy(path: Path) -> PolicyFile:
    """Return the policy in a file.

    Raises:
        UsageError: it cannot be read or is wrong.
    """
    try:
        return parse_policy(path.read_text(encoding="utf-8"), file=str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path}: expected this site's policy, cannot read it ({reason}); enrolment wrote it: put it back from "
            "a copy"
        ) from error


def check_cohort(policy: PolicyFile, smallest: int, collusion: int) -> None:
    """Refuse a session whose sum may be of fewer institutions, or of fewer honest ones, than the site demands.

    Args:
        policy: the site's.
        smallest: n_min, of the fewest joins that the spec allows or of the joins that were sealed.
        collusion: c of the spec.

    Raises:
        BudgetError: names the rule and both numbers.
    """
    for rule, demanded, found, words in (
        ("minimum_cohort", policy.minimum_cohort, smallest, "institutions in the sum, the session is content with"),
        ("minimum_honest", policy.minimum_honest, smallest - collusion, "honest ones in the sum, the session ensures"),
        ("minimum_collusion", policy.minimum_collusion, collusion, "that may collude, the spec reckons with"),
    ):
        if found < demanded:
            raise BudgetError(f"policy.toml: {rule} demands {demanded} {words} {found}; decline, or change the policy")


def check_policy(policy: PolicyFile, spec: Spec) -> None:
    """Refuse a spec that the site's rules do not allow.

    Raises:
        BudgetError: names rule, limit and what the spec asks for.
    """
    if spec.privacy.mechanism != "none" and spec.privacy.epsilon > policy.epsilon_per_session:
        raise BudgetError(
            f"policy.toml: epsilon_per_session allows {policy.epsilon_per_session}, "
            f"the spec asks for {spec.privacy.epsilon}; decline, or change the policy"
        )
    cohort = spec.cohort
    check_cohort(policy, smallest_cohort(cohort.minimum, cohort.collusion, cohort.dropout), cohort.collusion)
    check_names(policy, spec)


def check_names(policy: PolicyFile, spec: Spec) -> None:
    """Refuse metrics and models that the site's rules do not name, wherever the spec is run.

    Raises:
        BudgetError: names the rule and what it does not hold.
    """
    metrics = [name for metric in spec.metrics for name in (metric.id, metric.of) if name is not None]
    for rule, allowed, wanted in (
        ("allowed_metrics", policy.allowed_metrics, metrics),
        ("allowed_models", policy.allowed_models, [model.id for model in spec.models]),
    ):
        refused = [item for item in wanted if ANY not in allowed and item not in allowed]
        if refused:
            raise BudgetError(f"policy.toml: {rule} does not hold {refused[0]}; decline, or change the policy")


def check_models(policy: PolicyFile, spec: Spec, registry: Registry) -> None:
    """Refuse models under a licence, or behind an address, that the site's rules do not name.

    Raises:
        BudgetError: names the rule, the model, and its licence or address.
    """
    for model in spec.models:
        row = registry.get(model.id)
        check_licence(policy, model.id, None if row is None else row.licence.name)
        how = None if row is None or model.pipeline != EXTERNAL else row.external
        if isinstance(how, Endpoint):
            check_url(policy, how.url, f"the endpoint of {model.id}")


def check_licence(policy: PolicyFile, model: str, licence: str | None) -> None:
    """Refuse a model under a licence that the site's rules do not name, None for one that is not known.

    Raises:
        BudgetError: names the rule, model and licence.
    """
    if ANY not in policy.allowed_licences and licence not in policy.allowed_licences:
        words = f"{licence}, that of {model}" if licence else f"the licence of {model}, which is not known"
        raise BudgetError(f"policy.toml: allowed_licences does not hold {words}; decline, or change the policy")


def check_address(policy: PolicyFile, address: str, whose: str) -> None:
    """Refuse an address, HOST:PORT, that the site's rules do not name.

    Raises:
        BudgetError: names the rule, the address and whose it is.
    """
    check_url(policy, f"//{address}", whose)


def check_url(policy: PolicyFile, url: str, whose: str) -> None:
    """Refuse a URL whose address the site's rules do not name; see `check_address`."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    if is_this_machine(host) or any(covers(rule, host, port) for rule in policy.allowed_networks):
        return
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    raise BudgetError(
        f"policy.toml: allowed_networks does not hold {shown}, {whose}; nothing was sent there. Change the policy if it "
        "should be"
    )


def policy_in(folder: StateFolder) -> PolicyFile:
    """Return the policy of a state folder, the default one where none was written yet.

    Raises:
        UsageError: it cannot be read or is wrong.
    """
    return read_policy(folder.policy) if folder.policy.exists() else parse_policy(DEFAULT_POLICY)
