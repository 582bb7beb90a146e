"""What an auditor demands of a session's parameters, beyond that they are what was agreed.

Promises strict reading: an unknown or malformed field is an error, never ignored. Leaves the comparison to check V22.

Source: protos/README.md §10.3.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vdb_shared.errors import UsageError
from vdb_shared.fields import Digest, Real
from vdb_shared.schema_words import first_mistake
from vdb_shared.text_files import utf8_problem
from vdb_shared.toml_lines import toml_problem

MAX_POLICY_BYTES: Final = 2**16


class Policy(BaseModel):
    """Bounds on a session's parameters; the defaults are what an audit without a policy file demands.

    Attributes:
        maximum_epsilon, maximum_delta: weakest promise of privacy that is accepted.
        minimum_cohort: fewest institutions in the sum.
        minimum_collusion: fewest dishonest institutions the session must withstand.
        root: digest of the trust root, or None for any.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-audit-policy/1"] = "vdb-audit-policy/1"
    maximum_epsilon: Real = Field(default=Decimal(16), gt=0)
    maximum_delta: Real = Field(default=Decimal("0.0001"), gt=0, lt=1)
    minimum_cohort: int = Field(default=3, ge=3)
    minimum_collusion: int = Field(default=1, ge=1)
    root: Digest | None = None


DEFAULT_POLICY: Final = Policy()


def too_weak(epsilon: Decimal, delta: Decimal, policy: Policy = DEFAULT_POLICY) -> list[str]:
    """Return what of a promise of privacy is weaker than a policy accepts, in words; the default is every reader's."""
    found = []
    if epsilon > policy.maximum_epsilon:
        found.append(f"ε is {epsilon}, above {policy.maximum_epsilon}")
    if delta > policy.maximum_delta:
        found.append(f"δ is {delta}, above {policy.maximum_delta}")
    return found


def readers_refuse(epsilon: Decimal, delta: Decimal) -> str:
    """Return a sentence of warning where whoever verifies a result without a policy of their own sees it fail; else ""."""
    found = too_weak(epsilon, delta)
    return (
        f"{' and '.join(found)}, which is as much as an audit accepts unasked: `vdb-audit verify` will FAIL the result (V22) "
        "for everybody who does not give a policy that allows it"
        if found
        else ""
    )


def parse_policy(data: bytes, *, file: str = "policy") -> Policy:
    """Return the policy written in TOML.

    Raises:
        UsageError: it is not one; names file and field.
    """
    if len(data) > MAX_POLICY_BYTES:
        raise UsageError(f"{file}: a policy has at most {MAX_POLICY_BYTES} bytes, not {len(data)}")
    try:
        return Policy.model_validate(tomllib.loads(data.decode("utf-8"), parse_float=Decimal))
    except ValidationError as error:
        raise UsageError(
            f"{file}: {first_mistake(error)}; known fields are {', '.join(Policy.model_fields)}"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: {utf8_problem(error)}") from error
    except (ValueError, ArithmeticError, RecursionError) as error:  # no TOML, digits or nesting without end
        raise UsageError(f"{file}: {toml_problem(data.decode('utf-8'), error)}") from error
