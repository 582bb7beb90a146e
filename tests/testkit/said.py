"""What was said of a result since it was published, put together part by part."""

from __future__ import annotations

from typing import Any

from vdb_shared.audit.standing import Standing


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def standing(**parts: Any) -> Standing:
    """Return how a result stands of which nothing was said but for these parts."""
    nothing: dict[str, Any] = {
        "read": True,
        "objections": (),
        "withdrawn": None,
        "further": (),
        "successors": (),
        "supersedes": "",
        "refused": {},
        "faults": (),
    }
    return Standing(**nothing | parts)
