"""Signed statements and the result bundle: their bytes, and nothing about whether they are true."""
