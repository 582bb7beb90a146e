"""Reasons that the coordinator's errors carry in google.rpc.ErrorInfo, so that programs need not read sentences.

Source: protos/README.md §11.5.
"""

from __future__ import annotations

from typing import Final

DOMAIN: Final = "vdb"

INVALID: Final = "VDB_INVALID"
"""The bytes are not what their format demands. Sending them again will not help."""

NO_DEADLINE: Final = "VDB_NO_DEADLINE"
"""The call was made without a deadline."""

NOT_A_MEMBER: Final = "VDB_NOT_A_MEMBER"
"""The certificate's name is not in the roster, or its role may not call this."""

NO_SUCH_SESSION: Final = "VDB_NO_SUCH_SESSION"
"""No session, or more than one, has that id or prefix."""

NOT_YET: Final = "VDB_NOT_YET"
"""What was asked for does not exist yet; watch the session and ask again."""

TOO_LATE: Final = "VDB_TOO_LATE"
"""The phase that would have taken this submission is over."""

RESTARTED: Final = "VDB_RESTARTED"
"""The rounds were restarted; ask for the restarts and go on with the new attempt."""

CONFLICT: Final = "VDB_CONFLICT"
"""Other bytes were accepted in this place before. The refusal is recorded."""

ABORTED: Final = "VDB_ABORTED"
"""The session was aborted; the message says why."""

PROTOCOL: Final = "VDB_PROTOCOL"
"""The submission breaks the protocol: signature, transcript, sender."""

INVITATION: Final = "VDB_INVITATION"
"""The invitation is unknown, used or expired."""

WRONG_OFFSET: Final = "VDB_WRONG_OFFSET"
"""An upload does not go on where the stored part ends; query and resume."""

TOO_MUCH: Final = "VDB_TOO_MUCH"
"""A quota was reached; try again later."""

VERSION: Final = "VDB_VERSION"
"""The two programs speak no common version of the protocol; the message says which must be updated."""

NEEDS_APPROVAL: Final = "VDB_NEEDS_APPROVAL"
"""The coordinator's policy wants signatures of several people for this; propose it."""

INTERNAL: Final = "VDB_INTERNAL"
"""A fault of the coordinator's program; its operator must act. Not said to callers of protocol 1.0, who do not know it."""

STORAGE: Final = "VDB_STORAGE"
"""The coordinator cannot write to its storage; its operator must act. Safe to resend."""
