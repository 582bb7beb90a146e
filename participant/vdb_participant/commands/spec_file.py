"""Reading a spec from a file, with its mistakes told by file, line and field. Loads no machine learning framework."""

from __future__ import annotations

from pathlib import Path

from vdb_shared.errors import SpecError
from vdb_shared.layout import layout_of
from vdb_shared.spec import Spec, parse_spec_json, parse_spec_toml
from vdb_shared.toml_lines import line_of


def read_spec(path: Path) -> Spec:
    """Return the spec in a TOML file, or in a JSON file in canonical form.

    Raises:
        SpecError: with file, line and field of the first mistake.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise SpecError(f"cannot be read ({error.strerror}); check the path", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise SpecError("is not UTF-8 text", file=str(path)) from error
    try:
        spec = parse_spec_json(data.rstrip(b"\n")) if path.suffix == ".json" else parse_spec_toml(text, file=str(path))
        layout_of(spec)
    except SpecError as error:
        if error.file:
            raise
        line = None if path.suffix == ".json" else line_of(text, error.field)
        raise SpecError(error.problem, file=str(path), line=line, field=error.field) from error
    return spec
