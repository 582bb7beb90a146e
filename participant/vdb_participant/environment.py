"""What programs that the agent starts find in their environment: not what is for the agent alone.

Promises that neither the passphrase of the keys nor tokens of endpoints reach a program that has no use for them: the command
of an external model, the signer of signer.toml, and processes that make clips. Everything else stays, since a command may need
it. Leaves the decoder to `data/decoding/program.py`, whose environment is made of the few variables that it needs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from vdb_participant.site.keys import VARIABLE
from vdb_shared.registry.external import Endpoint
from vdb_shared.registry.rows import Registry


def tokens_of(registry: Registry) -> Mapping[str, str]:
    """Return the variables in which endpoints of a registry have their tokens, by id of the model."""
    found = {name: row.external for name, row in registry.rows.items()}
    return {name: how.token_variable for name, how in found.items() if isinstance(how, Endpoint) and how.token_variable}


def for_child(tokens: Collection[str]) -> dict[str, str]:
    """Return this process's environment without the passphrase and without tokens that are not the child's.

    Args:
        tokens: variables to leave out.
    """
    return {name: value for name, value in os.environ.items() if name != VARIABLE and name not in tokens}


def forget_others(tokens: Mapping[str, str], models: Collection[str]) -> None:
    """Forget in this process, which was started with another's whole environment, what is not for it.

    Args:
        tokens: see `tokens_of`.
        models: ids of those that are made here, whose tokens stay.
    """
    own = {tokens.get(model) for model in models}
    for name in os.environ.keys() - for_child(set(tokens.values()) - own).keys():
        del os.environ[name]
