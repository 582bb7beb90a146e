"""Scores of movement: how much of it there is, how smooth it is, and how well frames follow it."""
