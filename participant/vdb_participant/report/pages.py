"""Whole pages: the verified leaderboard of a session, or a site's own evaluation, each with clips that were made here.

Promises that a page of a session shows only figures of a bundle that passes the audit under the pinned root. Leaves files to
`commands/reporting.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from vdb_participant.generation.store import ClipStore
from vdb_participant.report.choice import PROMPTS, choose
from vdb_participant.report.section import clips_section
from vdb_participant.session.countersigning import agreed_policy
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.html import leaderboard_page, local_page
from vdb_shared.audit.leaderboard import leaderboard_of
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.verify import verify
from vdb_shared.errors import UsageError
from vdb_shared.evaluation import Evaluation
from vdb_shared.registry.rows import Registry
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask, public_tasks, shard


@dataclass(frozen=True, slots=True)
class Held:
    """What a site holds of clips.

    Attributes:
        store: of its clips.
        registry: the site's; clips are found again by what it says of their models.
        prompts: how many a page shows, at most.
    """

    store: ClipStore
    registry: Registry
    prompts: int = PROMPTS


def session_page(bundle: bytes, institution: str, root: str, held: Held) -> str:
    """Return the page of a published session as one of its institutions sees it.

    Args:
        bundle: the published result.
        institution: ours.
        root: the pinned trust root.
        held: our clips.

    Raises:
        VerificationError: a check of the bundle failed.
        UsageError: the institution is none of the session's.
        VdbError: the bundle cannot be read, or clips cannot.
    """
    evidence = Evidence(bundle, root, DEFAULT_POLICY, draft=False)
    policy = agreed_policy(evidence.spec, evidence.terms.smallest_cohort, root)
    board = leaderboard_of(bundle, verify(bundle, root=root, policy=policy))
    chosen = choose(evidence.spec, _share_of(evidence, institution), held.store, held.registry, held.prompts)
    return leaderboard_page(board, clips_section(chosen, held.store, institution), institution)


def evaluation_page(spec: Spec, evaluation: Evaluation, held: Held) -> str:
    """Return the page of an evaluation that was made here alone.

    Raises:
        StoreError: clips cannot be read.
    """
    chosen = choose(spec, public_tasks(spec), held.store, held.registry, held.prompts)
    return local_page(spec.title, evaluation.to_json(), clips_section(chosen, held.store, "this site"))


def _share_of(evidence: Evidence, institution: str) -> tuple[ClipTask, ...]:
    """Return the public clips that fell to an institution."""
    seats = {join.institution: join.seat for join in evidence.seal.joins}
    if institution not in seats:
        raise UsageError(f"{institution} did not join this session; it was {', '.join(seats)}")
    terms = evidence.terms
    return shard(public_tasks(evidence.spec), terms.position(seats[institution]), len(terms.seats))
