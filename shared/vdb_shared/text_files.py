"""Text files that people write: bytes that must be UTF-8."""

from __future__ import annotations

from vdb_shared.errors import UsageError


def utf8_problem(error: UnicodeDecodeError) -> str:
    """Return in words why bytes are no UTF-8, and on which line."""
    line = error.object.count(b"\n", 0, error.start) + 1
    return f"is not UTF-8 text (byte 0x{error.object[error.start]:02x} on line {line}); save it as UTF-8"


def utf8_text(content: bytes, *, file: str) -> str:
    """Return the text of a file's bytes.

    Raises:
        UsageError: they are not UTF-8; names file and line.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: {utf8_problem(error)}") from error
