"""The example notebook says what it says when it is run again, and the library behind it tells what is wrong."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import vdb_participant
from testkit.notebooks import code_cells, executed, read, shown
from testkit.specs import small_spec
from vdb_shared.errors import SpecError, UsageError
from vdb_shared.evaluation import Evaluation

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
CLOSE = 0.05
"""Share by which a figure may differ on another machine: torch's kernels do not add in one order everywhere."""


@pytest.fixture(scope="module")
def fresh() -> dict[str, object]:
    return executed(NOTEBOOK, ("notebook.toml",))


def test_the_notebook_shows_what_it_gives(fresh: dict[str, object]) -> None:
    old, new = (ast.literal_eval(shown(code_cells(item)[-1], "text/plain")) for item in (read(NOTEBOOK), fresh))
    assert len(new) == 6
    assert [row[:3] for row in new] == [row[:3] for row in old]
    for (*_, before), (*_, now) in zip(old, new, strict=True):
        assert now == pytest.approx(before, rel=CLOSE)
    best = {metric for metric, model, (_, worst), _ in new if model == "vdb-tiny-3" and worst == 1}
    assert best == {"temporal-flickering@1", "clip-score@1"}, "the model that was trained longest"


def test_tables_and_plot_are_the_same_pictures(fresh: dict[str, object]) -> None:
    """All but the digits: names, ranks, headings, shapes."""
    for place, kind in ((1, "text/html"), (2, "image/svg+xml")):
        old, new = (shown(code_cells(item)[place], kind) for item in (read(NOTEBOOK), fresh))
        assert len(new) > 500
        assert re.sub(r"-?\d+(\.\d+)?", "#", new) == re.sub(r"-?\d+(\.\d+)?", "#", old)
    svg = ET.fromstring(shown(code_cells(fresh)[2], "image/svg+xml"))  # noqa: S314 - made here
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}circle"))) == 2


def test_every_output_is_kept() -> None:
    assert [bool(cell["outputs"]) for cell in code_cells(read(NOTEBOOK))] == [False, True, True, True]


def test_what_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = vdb_participant.Run(small_spec(), Evaluation("exact", "exact", (), (), {("latency@1", "public"): ()}))
    with pytest.raises(
        UsageError, match=r"fid@1: expected one metric of the spec, found 0; it has latency@1 on public"
    ):
        empty.plot("fid@1")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"frame\(\) needs pandas"):
        empty.frame()
    assert empty.rows == []


def test_a_mistake_in_the_spec_names_its_line(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(NOTEBOOK.with_name("notebook.toml").read_text().replace("frames = 9", "frames = 0"))
    with pytest.raises(SpecError, match=r"spec.toml:28: video.frames"):
        vdb_participant.run(spec, tmp_path)
