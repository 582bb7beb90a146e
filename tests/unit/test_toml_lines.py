"""What is said of a line that is no TOML: the parser's words, the line, and what is likely wrong."""

from __future__ import annotations

import tomllib

import pytest

from vdb_shared.toml_lines import toml_problem


def problem(text: str, *, shown: bool = True) -> str:
    """Return what is said of a text."""
    with pytest.raises(tomllib.TOMLDecodeError) as refusal:
        tomllib.loads(text)
    return toml_problem(text, refusal.value, shown=shown)


@pytest.mark.parametrize(
    ("line", "likely"),
    [
        ('title = "Lungs', "is a quotation mark missing at its end?"),
        ("title = 'Lungs", "is a quotation mark (') missing at its end?"),
        ('title = Lungs"', "is a quotation mark missing at the beginning of the text?"),
        ("title = \u201cLungs\u201d", 'write plain quotation marks, "'),
        ("title =", "is the value missing after =?"),
        ('title "Lungs"', "is = missing after the name?"),
        ("share = 0,5", "write numbers with a point and without leading zeros"),
        ("yes = True", "write true and false in small letters"),
        ('folder = "C:\\clips"', "write each backslash twice, or put the text in single quotes: 'C:\\clips'"),
        ("[privacy", "is a ] missing at its end?"),
        ('before = "twice"', "does the field stand twice? Keep one"),
        ('title = "Lungs" and hearts', "is a quotation mark, comma or bracket missing or too many before this place?"),
        ("list = [1 2]", "is a comma missing in the list, or the ] that ends it?"),
    ],
)
def test_the_line_is_shown_with_what_is_likely_wrong(line: str, likely: str) -> None:
    told = problem(f'before = "right"\n{line}\n')
    assert told.startswith("not TOML: ")
    assert told.endswith(f"; the line is `{line}`: {likely}")


def test_a_text_that_ends_before_its_quotation_mark_names_its_last_line() -> None:
    assert problem('a = 1\nb = "x').endswith('; the line is `b = "x`: is a quotation mark missing at its end?')


def test_a_line_that_may_hold_a_secret_is_not_shown() -> None:
    told = problem('pin = "1234', shown=False)
    assert "1234" not in told
    assert told.endswith("; is a quotation mark missing at its end?")
