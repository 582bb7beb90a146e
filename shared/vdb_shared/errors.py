"""The one error tree.

    VdbError
    ├── UsageError              the caller gave something unusable: file, flag, folder
    │   ├── SpecError           a benchmark spec; carries file, line and field
    │   └── DatasetError        an institution's data directory
    ├── FormatError             bytes that are not what their format demands
    ├── SignatureError          a signature that does not verify, or an unknown signer
    ├── IdentityError           enrolment, invitations, certificates, roster
    │   └── InvitationError     an invitation that leads to no membership any more: only another one helps
    ├── ModelError              model or extractor weights missing, changed or unloadable
    ├── StatisticError          statistics whose shape or range is impossible
    ├── PrivacyError            a privacy parameter or claim that does not hold
    │   └── BudgetError         the site's ledger refuses
    ├── ProtocolError           the peer's fault in the aggregation protocol; carries the peer
    │   └── UnusableShareError  a sealed pair of shares that does not open; carries the dealer
    ├── SessionAbortedError          the session ended without a result
    ├── RoundsRestartedError         the rounds go on in a later attempt; ask for the cause
    ├── StoreError              durable storage refuses or is damaged
    ├── UnreachableError        the coordinator cannot be reached; says what to check
    │   └── AwaitedAnswerError  it is asked by files that people carry, and the answer has not come yet
    └── VerificationError       a bundle check that failed; carries its id

Misuse by our own code is ValueError or RuntimeError. Messages are one line: what was expected, what came, from whom,
what to do. Only the command line modules print or exit.
"""

from __future__ import annotations

from typing import Final


class VdbError(Exception):
    """Base of all errors a user may be shown."""


class UsageError(VdbError):
    """Something the caller gave cannot be used."""


class SpecError(UsageError):
    """A benchmark spec is wrong.

    Attributes:
        field: dotted path of the field, or "" when the whole file is meant.
        line: 1-based line in the file, or None when it cannot be told.
        others: further mistakes of the same file that were found at once.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str = "",
        line: int | None = None,
        field: str = "",
        others: tuple[SpecError, ...] = (),
    ) -> None:
        place = ":".join(part for part in (file, str(line) if line else "") if part)
        super().__init__(": ".join(part for part in (place, field, problem) if part))
        self.problem: Final = problem
        self.file: Final = file
        self.line: Final = line
        self.field: Final = field
        self.others: Final = others


class DatasetError(UsageError):
    """An institution's data directory cannot be used.

    Attributes:
        every: all mistakes of a file of which the message names the first; empty where there is one.
    """

    def __init__(self, problem: str = "", *, every: tuple[DatasetError, ...] = ()) -> None:
        super().__init__(problem)
        self.every: Final = every


class FormatError(VdbError):
    """Bytes are not what their format demands."""


class SignatureError(VdbError):
    """A signature does not verify, or its signer is not known."""


class IdentityError(VdbError):
    """Enrolment, an invitation, a certificate or the roster is not in order."""


class InvitationError(IdentityError):
    """An invitation leads to no membership, now or later: only another one helps."""


class ModelError(VdbError):
    """Weights of a model or extractor are missing, changed or cannot be loaded."""


class StatisticError(VdbError):
    """Statistics have an impossible shape or range."""


class PrivacyError(VdbError):
    """A privacy parameter or claim does not hold."""


class BudgetError(PrivacyError):
    """The site's privacy ledger or policy refuses a session."""


class ProtocolError(VdbError):
    """A peer broke the aggregation protocol.

    Attributes:
        peer: who: "coordinator", or the seat as "seat 3".
        told: what may be sent to others: the message without what is of this machine alone.
    """

    def __init__(self, message: str, *, peer: str, here: str = "") -> None:
        """Say what a peer did.

        Args:
            message: what, without a place of this machine: others may be sent it, signed.
            peer: who.
            here: what the operator is told as well, such as where evidence lies.
        """
        told = f"{peer}: {message}"
        super().__init__(f"{told}; {here}" if here else told)
        self.peer: Final = peer
        self.told: Final = told


class UnusableShareError(ProtocolError):
    """A sealed pair of shares does not open for us; the dealer or whoever carried it is at fault.

    Attributes:
        dealer: its seat.
    """

    def __init__(self, message: str, *, dealer: int) -> None:
        super().__init__(message, peer=f"seat {dealer}")
        self.dealer: Final = dealer


class SessionAbortedError(VdbError):
    """The session ended without a result."""


class RoundsRestartedError(VdbError):
    """The rounds were restarted and go on in a later attempt; the cause is to be asked for."""


class StoreError(VdbError):
    """Durable storage refuses or is damaged."""


class UnreachableError(VdbError):
    """The coordinator cannot be reached."""


class AwaitedAnswerError(UnreachableError):
    """A request waits to be carried to the relay as a file, or its answer to be carried back; run again to go on."""


class VerificationError(VdbError):
    """A check of a result bundle failed.

    Attributes:
        check: its id, such as "V31".
    """

    def __init__(self, message: str, *, check: str) -> None:
        super().__init__(f"{check}: {message}")
        self.check: Final = check
        self.reason: Final = message
