"""The auditor's guide shows what the program prints; `python -m testkit.guide --write` makes it anew."""

from __future__ import annotations

import re

from testkit.guide import GUIDE, rewritten, variables


def test_every_output_is_the_programs() -> None:
    """Outputs are made anew from a guide in which they are wrong; what comes out is the guide."""
    text = GUIDE.read_text(encoding="utf-8")
    assert text.count("```console") == 24
    wrong = re.sub(r"(?m)^(V41 +)PASS", r"\1FAIL", text)
    assert wrong != text
    assert rewritten(wrong) == text


def test_named_values_are_those_of_the_files() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for name, value in variables().items():
        assert f"\n{name}={value}\n" in text
