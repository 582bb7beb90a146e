"""Scores of the time a clip took; comparable within one model of device only."""

from __future__ import annotations


def latency(seconds: float) -> float:
    """Return wall-clock seconds from prompt to decoded frames, warm-up excluded."""
    return seconds


def frames_per_second(frames: int, seconds: float) -> float:
    """Return how many frames were made in a second."""
    return frames / seconds
