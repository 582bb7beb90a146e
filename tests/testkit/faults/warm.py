"""Loaded once by the server from which a campaign's processes are forked: their programs, and figures that never change.

Of what a life of an agent costs, most is loading its libraries and asking accountants, whose answers follow from the spec. Here
the libraries are loaded, and the four functions in which the accountants spend their time remember what they answered: for the
campaign's cohorts they are asked before anybody is forked. Everything that a fault could bear on is computed anew in each life.
"""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.rdp import rdp_privacy_accountant
from opacus.accountants import PRVAccountant, RDPAccountant

from testkit.faults.forks import AGENTS, SMALLEST
from testkit.institutions import session_spec
from vdb_participant.session.claim import check_claim, check_cost_at
from vdb_participant.site.policy import DEFAULT_POLICY, parse_policy
from vdb_shared.audit.verify import verify
from vdb_shared.privacy.accountant import account
from vdb_shared.seal import seal_terms
from vdb_shared.spec import Spec

PROGRAMS: Final = (
    "testkit.faults.agents",
    "testkit.faults.servers",
    "vdb_coordinator.commands.server",
    "vdb_participant.data.dataset",
    "vdb_participant.generation.parallel",
    "vdb_participant.generation.profiles",
    "vdb_participant.generation.workers",
)
"""What whoever is forked would load itself."""

GOLDEN: Final = Path(__file__).parents[2] / "golden"


def remembering(function: Callable[..., Any], *, method: bool = False) -> Callable[..., Any]:
    """Return a pure function that computes each answer once; of a method's object the history counts as an argument."""
    found: dict[bytes, Any] = {}

    def remembered(*arguments: Any, **named: Any) -> Any:
        facts = (arguments[0].history, *arguments[1:]) if method else arguments
        key = pickle.dumps((facts, sorted(named.items())))
        if key not in found:
            found[key] = function(*arguments, **named)
        return found[key]

    return remembered


def _spec() -> Spec:
    with TemporaryDirectory() as folder:
        return session_spec(Path(folder), minimum=SMALLEST)


def _ask() -> None:
    """Ask the accountants about every cohort of the campaign, and let an audit load what audits load."""
    spec, policy = _spec(), parse_policy(DEFAULT_POLICY)
    for seats in range(SMALLEST, AGENTS + 1):
        terms = seal_terms(spec, range(seats))
        accounting = account(terms.calibration)
        check_claim(spec, terms, accounting)
        check_cost_at(policy.delta, spec, terms, accounting.rho or Decimal(0))
        policy.rho_cap  # noqa: B018 - asked so that the answer is there
    verify((GOLDEN / "full.vdbb").read_bytes())


for _program in PROGRAMS:
    import_module(_program)
privacy_loss_distribution.from_gaussian_mechanism = remembering(privacy_loss_distribution.from_gaussian_mechanism)
rdp_privacy_accountant.compute_epsilon = remembering(rdp_privacy_accountant.compute_epsilon)
for _kind in (RDPAccountant, PRVAccountant):
    _kind.get_epsilon = remembering(_kind.get_epsilon, method=True)
_ask()
gc.freeze()
