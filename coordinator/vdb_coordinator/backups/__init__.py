"""Backups of a coordinator: one file that holds what it keeps, and how a coordinator comes back from it."""
