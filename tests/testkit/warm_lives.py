"""Loaded once by the server from which whole lives are forked: libraries, and the accountants' answers about their spec."""

from __future__ import annotations

import gc
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import testkit.faults.warm  # noqa: F401 - lets the accountants remember
from testkit.institutions import write_weights
from testkit.life_spec import EXTRACTORS, MODELS, SITES, life_spec
from vdb_participant.session.claim import check_claim, check_cost_at
from vdb_participant.site.policy import DEFAULT_POLICY, parse_policy
from vdb_shared.privacy.accountant import account
from vdb_shared.seal import seal_terms

PROGRAMS: Final = ("testkit.whole_life", "vdb_participant.session.measurement", "vdb_participant.session.timing")


def _ask() -> None:
    with TemporaryDirectory() as folder:
        write_weights(Path(folder), (*MODELS, *EXTRACTORS))
        spec = life_spec(Path(folder))
    terms, policy = seal_terms(spec, range(SITES)), parse_policy(DEFAULT_POLICY)
    accounting = account(terms.calibration)
    check_claim(spec, terms, accounting)
    check_cost_at(policy.delta, spec, terms, accounting.rho or Decimal(0))


for _program in PROGRAMS:
    import_module(_program)
_ask()
gc.freeze()
