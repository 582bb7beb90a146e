"""Notebooks without Jupyter: code cells, executed in order, with what Jupyter would show of their last expressions.

python -m testkit.notebooks docs/notebook.ipynb     # write the outputs anew
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

KINDS: Final = {"_repr_html_": "text/html", "_repr_svg_": "image/svg+xml"}


def read(path: Path) -> dict[str, Any]:
    """Return a notebook; nbformat 4.5, each cell with an id."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    return notebook


def executed(path: Path, beside: tuple[str, ...]) -> dict[str, Any]:
    """Return a notebook with fresh outputs, run in a folder of its own with some files that lie beside it."""
    notebook = read(path)
    names: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        for name in beside:
            shutil.copy(path.parent / name, folder)
        with contextlib.chdir(folder), _state(Path(folder) / "state"):
            for number, cell in enumerate(code_cells(notebook), start=1):
                cell["execution_count"] = number
                cell["outputs"] = _outputs("".join(cell["source"]), names, number)
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell: dict[str, Any], kind: str) -> str:
    """Return what a cell shows of a kind, or ""."""
    found = [output["data"][kind] for output in cell["outputs"] if kind in output["data"]]
    return "".join(found[0]) if found else ""


@contextlib.contextmanager
def _state(folder: Path) -> Iterator[None]:
    """Let the state folder be this one for the length of a block."""
    before = os.environ.get("VDB_PARTICIPANT")
    os.environ["VDB_PARTICIPANT"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("VDB_PARTICIPANT")
        if before is not None:
            os.environ["VDB_PARTICIPANT"] = before


def _outputs(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)  # noqa: S102 - the project's own notebook
    if not isinstance(last, ast.Expr):
        return []
    value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)  # noqa: S307 - as above
    if value is None:
        return []
    data = {kind: _lines(getattr(value, name)()) for name, kind in KINDS.items() if hasattr(value, name)}
    bundle = {**data, "text/plain": _lines(repr(value))}
    return [{"output_type": "execute_result", "execution_count": number, "data": bundle, "metadata": {}}]


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main() -> None:
    """Execute a notebook and write it with its outputs."""
    path = Path(sys.argv[1])
    notebook = executed(path, ("notebook.toml",))
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
