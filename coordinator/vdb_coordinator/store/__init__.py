"""Durable storage: one SQLite database with one writer, and large vectors as files named by digest."""
