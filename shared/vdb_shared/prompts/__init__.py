"""Suites of tagged prompts, as data, and what can be said of prompts without any model: mistakes and counts.

Promises that every suite is a TOML file, that tags mean what `tags.toml` says, and that nothing here reads any other file
or sends anything. Leaves specs to `spec.py`, which know prompts without tags, and files of a site to the participant.
"""
