"""Lists of records: what fixes them, what chooses of them, and that both follow from the words of the specification."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache

import pytest
from scipy.stats import hypergeom

from testkit.opened_lines import Story, kept_list
from vdb_participant.session.samples import KeptSamples
from vdb_shared.audit.spot_report import Opened, missed
from vdb_shared.bundle.sample_choice import parse_choice
from vdb_shared.bundle.samples import chosen_lines, sample_root
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError


@cache
def _story() -> Story:
    return Story(kept_list())


@pytest.fixture
def story() -> Story:
    """A story that is told once for all tests; what it opens is the same each time."""
    return _story()


def labelled(label: str, *parts: bytes) -> bytes:
    """Return H(label, parts…) as §2.1 writes it."""
    fields = (label.encode(), *parts)
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "little") + part for part in fields)).digest()


def tree(leaves: list[bytes]) -> bytes:
    """Return the hash of a list as RFC 6962 §2.1 writes it."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = next(size for size in (2**power for power in range(30, -1, -1)) if size < len(leaves))
    return hashlib.sha256(b"\x01" + tree(leaves[:split]) + tree(leaves[split:])).digest()


def test_list_and_choice_are_those_of_the_specification(story: Story) -> None:
    """Computed again from the words of §10.14, with nothing of ours but the lines and the salt."""
    opening, _ = story.opened(story.question(12))
    lines, total = list(story.kept.lines()), len(story.kept.samples)
    salt = bytes.fromhex(opening.salt)
    root = labelled("vdb-samples/1|root", salt, total.to_bytes(8, "little"), tree(lines))
    assert story.result.contribution.manifest.sample_root == f"sha256:{root.hex()}"
    log = story.log.entries[:3]
    session = bytes.fromhex(opening.session.removeprefix("sha256:"))
    drawn: list[int] = []
    for draw in range(100):
        parts = (session, b"lab-kyoto", root, (3).to_bytes(8, "little"), tree(log), draw.to_bytes(8, "little"))
        number = int.from_bytes(labelled("vdb-samples/1|choice", *parts)[:8], "little") % total
        drawn += [number] if number not in drawn else []
    assert [item.number for item in opening.opened] == drawn[:12]
    assert [item.line.encode() for item in opening.opened] == [lines[number] for number in drawn[:12]]


def test_sessions_institutions_lists_and_logs_are_asked_for_other_lines() -> None:
    digests = [sha256_digest(bytes([number])) for number in range(3)]
    root = bytes(32)
    drawn = {
        chosen_lines(digests[0], "lab-a", digests[1], (7, root), 10**6, 8),
        chosen_lines(digests[2], "lab-a", digests[1], (7, root), 10**6, 8),
        chosen_lines(digests[0], "lab-b", digests[1], (7, root), 10**6, 8),
        chosen_lines(digests[0], "lab-a", digests[2], (7, root), 10**6, 8),
        chosen_lines(digests[0], "lab-a", digests[1], (8, root), 10**6, 8),
        chosen_lines(digests[0], "lab-a", digests[1], (7, bytes([1]) * 32), 10**6, 8),
    }
    assert len(drawn) == 6
    counts = [0] * 10
    for number in range(400):
        for line in chosen_lines(digests[0], f"lab-{number}", digests[1], (7, root), 10, 3):
            counts[line] += 1
    assert all(80 <= count <= 160 for count in counts), counts  # 120 expected, nine standard deviations wide


def test_what_a_contribution_says_of_a_list_tells_neither_its_length_nor_its_lines() -> None:
    """Equal lists under other secrets have other digests, and without the salt no guess of the lines can be confirmed."""
    roots = {kept_list(private, bytes([secret]) * 32).root for private in (0, 1, 20) for secret in range(3)}
    roots |= {KeptSamples(bytes([secret]) * 32, []).root for secret in range(3)}
    assert len(roots) == 12
    kept = KeptSamples(bytes(32), [])
    assert kept.root == sample_root(bytes.fromhex(sha256_digest(b"").removeprefix("sha256:")), 0, kept.salt)


def test_what_is_kept_is_read_back_and_damage_is_noticed() -> None:
    kept = kept_list()
    assert KeptSamples.decode(kept.encode()) == KeptSamples(kept.secret, list(kept.samples))
    assert KeptSamples.decode(kept.encode()).root == kept.root
    assert kept.secret.hex() not in repr(kept)
    for damaged in (b"", b"{}\n", kept.encode()[1:], kept.encode().replace(b"vdb-samples/1", b"vdb-samples/0")):
        with pytest.raises(FormatError):
            KeptSamples.decode(damaged)


def test_a_choice_is_read_in_one_form_only(story: Story) -> None:
    good = story.choice()
    assert parse_choice(good.encode()) == good
    for wrong in (b"{}", good.encode() + b" ", replace(good, root=bytes(31)).encode()):
        with pytest.raises(FormatError):
            parse_choice(wrong)


def test_the_chance_of_missing_what_is_wrong_is_counted_without_putting_back() -> None:
    """And for any number of clips that the list may have, none has a higher one."""
    assert missed(Opened(0, 100, 0, 0)) == 1
    assert missed(Opened(1, 100, 0, 1)) == pytest.approx(0.9)
    assert missed(Opened(2, 100, 0, 2)) == pytest.approx(90 / 100 * 89 / 99)
    assert missed(Opened(91, 100, 0, 91)) == 0
    assert missed(Opened(5, 5, 0, 5)) == 0
    assert missed(Opened(5, 100, 5, 0)) == 1
    assert missed(Opened(5, 20, 2, 2)) == pytest.approx(15.3 / 17 * 14.3 / 16, rel=1e-12)
    assert missed(Opened(6, 10, 1, 3)) == pytest.approx(6.3 / 7 * 5.3 / 6 * 4.3 / 5, rel=1e-12)
    for opened, total, clips in ((30, 100, 30), (30, 100, 4), (50, 61, 49), (20, 2000, 7)):
        exact = [
            hypergeom.pmf(0, number, -(-number // 10), clips) for number in range(clips, total - opened + clips + 1)
        ]
        assert (
            max(exact) <= missed(Opened(opened, total, opened - clips, clips)) * (1 + 1e-9) <= 0.9**clips * (1 + 1e-9)
        )
