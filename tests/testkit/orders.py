"""Orders that several people have signed: three people, and what they sign to close a phase of a told session early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from testkit.session_story import Story
from vdb_coordinator.approvals import Proposal, SignedOrder, sign_proposal
from vdb_coordinator.early import closable
from vdb_coordinator.serving.clock import timestamp
from vdb_shared.identity import StatementKey

PEOPLE: Final[Mapping[str, StatementKey]] = {name: StatementKey.generate() for name in ("anna", "ben", "carla")}
KEYS: Final = {name: key.public_key.raw.hex() for name, key in PEOPLE.items()}


def proposal_to_close(told: Story, **parameters: str) -> Proposal:
    """Return a proposal to end the present phase with whoever is there, or with some parameters changed."""
    if {"phase", "institutions"} <= parameters.keys():
        now = {}
    else:
        found = closable(told.state)
        now = {"phase": found.phase, "institutions": found.institutions}
    return Proposal(
        consortium=told.state.opening.roster.consortium,
        action="close_early",
        parameters={"session": told.state.opening.session, **now, **parameters},
        proposer="spiffe://testbed/admin/lead",
        proposed=timestamp(told.now()),
        expires=timestamp(told.now() + timedelta(hours=1)),
        nonce="0" * 32,
    )


def signed_by(proposal: Proposal, *names: str) -> SignedOrder:
    """Return a proposal that some of three people have signed, of whom two must."""
    body = proposal.encode()
    return SignedOrder(body, 2, KEYS, {name: sign_proposal(body, PEOPLE[name]) for name in names})


def order_to_close(told: Story, **parameters: str) -> SignedOrder:
    """Return an order to end the present phase of a told session."""
    return signed_by(proposal_to_close(told, **parameters), "anna", "carla")


def with_body(order: SignedOrder, proposal: Proposal) -> SignedOrder:
    """Return an order that says something else under the same signatures."""
    return replace(order, body=proposal.encode())
