"""What leads propose: requests as parameters of a proposal, and back.

Promises that the request which is done says exactly what the proposal's parameters say, which is what people have signed.

Source: protos/README.md §11.11; protobuf, JSON mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, cast, get_args

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from vdb_coordinator.approvals import Action, Proposal
from vdb_shared.errors import FormatError, UsageError
from vdb_shared.wire import federation_pb2 as pb

Wish: TypeAlias = (
    pb.RevokeInstitutionRequest
    | pb.AbortSessionRequest
    | pb.WithdrawResultRequest
    | pb.ApproveEnrolmentRequest
    | pb.AdmitAuditorRequest
    | pb.CloseEarlyRequest
)

_KINDS: Final[Mapping[Action, type[Wish]]] = {
    "revoke_institution": pb.RevokeInstitutionRequest,
    "abort_session": pb.AbortSessionRequest,
    "withdraw_result": pb.WithdrawResultRequest,
    "approve_enrolment": pb.ApproveEnrolmentRequest,
    "admit_auditor": pb.AdmitAuditorRequest,
    "close_early": pb.CloseEarlyRequest,
}


def wish_in(request: pb.ProposeActionRequest) -> tuple[Action, Wish]:
    """Return what a lead proposes.

    Raises:
        UsageError: nothing.
    """
    name: str | None = request.WhichOneof("action")
    if name is None or name not in get_args(Action):
        raise UsageError("say what is proposed")
    return cast(Action, name), cast(Wish, getattr(request, name))


def request_for(action: Action, fields: Mapping[str, str]) -> pb.ProposeActionRequest:
    """Return the request that proposes an action with these fields of its request."""
    return ParseDict({action: dict(fields)}, pb.ProposeActionRequest())


def parameters_of(wish: Wish) -> dict[str, str]:
    """Return the fields of a request as texts, which are all it has."""
    fields = MessageToDict(wish, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return {name: str(value) for name, value in fields.items()}


def wish_of(proposal: Proposal) -> Wish:
    """Return the request that a proposal's parameters make.

    Raises:
        FormatError: they make none, or another one than they say.
    """
    kind = _KINDS.get(proposal.action)
    if kind is None:
        raise FormatError(f"{proposal.action} is done while nobody serves, with --order")
    try:
        wish = ParseDict(proposal.parameters, kind())
    except ParseError as error:
        raise FormatError(f"the parameters of the proposal make no request: {error}") from error
    missing = sorted(parameters_of(wish).keys() - proposal.parameters.keys())
    if missing:
        raise FormatError(f"the proposal says no {missing[0]}: an older release made it; propose it again")
    if parameters_of(wish) != proposal.parameters:
        raise FormatError("the parameters of the proposal are not those of its request")
    return wish
