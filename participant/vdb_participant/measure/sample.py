"""One measured clip, as the site remembers it.

Promises a JSON form that is the same for specs that are older than conditions. Leaves salting and hashing to
session/samples.py.

Source: protos/README.md §7.4 (records of clips).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vdb_shared.bundle.samples import Failure


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured clip: a leaf of the salted Merkle tree. Leaves the site as a salted hash only.

    Attributes:
        side: "reference", "public", "private", or "second": a public clip that counts at another site.
        model: id, or "clips" for a reference clip.
        prompt: the words, or the name of the file of a reference clip.
        number: of the sample, from 0.
        clip: digest of the frames; "" when there are none.
        shares: digest of all that the clip added to sums.
        failure: why it counts as failed, without a word of the reason itself; None if it does not.
        condition: digest of the file that the clip starts from; "" for words alone.
    """

    side: str
    model: str
    prompt: str
    number: int
    clip: str
    shares: str
    failure: Failure | None
    condition: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the leaf's JSON form; a condition stands in it where there is one."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "condition"}
        fields["failure"] = self.failure.value if self.failure else ""
        return fields | {"condition": self.condition} if self.condition else fields
