"""Small inline SVG charts: error bars on a common axis, histograms. No script, a text for those who cannot see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 300
_HEIGHT: Final = 24
_MARGIN: Final = 8


@dataclass(frozen=True, slots=True)
class Axis:
    """The common range of a metric's error bars."""

    low: float
    high: float

    @classmethod
    def over(cls, ends: Sequence[float]) -> Axis:
        """Return an axis that holds these numbers with a little room."""
        low, high = min(ends), max(ends)
        room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
        return cls(low - room, high + room)

    def place(self, value: float) -> float:
        """Return the horizontal place of a value, in SVG units."""
        share = (value - self.low) / (self.high - self.low)
        return round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1)


def error_bar(axis: Axis, value: str, low: str, high: str, confidence: str) -> str:
    """Return an interval with its value as an image; the digits are shown as they are given."""
    left, middle, right = (axis.place(float(number)) for number in (low, value, high))
    centre = _HEIGHT / 2
    label = escape(f"{value}; {confidence} interval from {low} to {high}", quote=True)
    return (
        f'<svg role="img" aria-label="{label}" width="{WIDTH}" height="{_HEIGHT}" viewBox="0 0 {WIDTH} {_HEIGHT}">'
        f"<title>{label}</title>"
        f'<path fill="none" stroke="currentColor" stroke-opacity="0.15" stroke-width="2" '
        f'd="M{_MARGIN} {centre}H{WIDTH - _MARGIN}"/>'
        f'<path fill="none" stroke="currentColor" stroke-width="2.5" stroke-linecap="round" '
        f'd="M{left} {centre - 5}v10M{left} {centre}H{right}M{right} {centre - 5}v10"/>'
        f'<circle fill="currentColor" cx="{middle}" cy="{centre}" r="4.5"/></svg>'
    )


def scale(axis: Axis) -> str:
    """Return the ends of an axis, as a picture below the error bars; the table holds the same numbers."""
    return (
        f'<svg aria-hidden="true" width="{WIDTH}" height="14" viewBox="0 0 {WIDTH} 14">'
        f'<g fill="currentColor" font-size="11"><text x="{_MARGIN}" y="11">{axis.low:.4g}</text>'
        f'<text x="{WIDTH - _MARGIN}" y="11" text-anchor="end">{axis.high:.4g}</text></g></svg>'
    )


def histogram(bins: Sequence[int]) -> str:
    """Return a histogram of clips over the range of the score."""
    highest = max(bins, default=0) or 1
    width = 96 / max(len(bins), 1)
    bars = "".join(
        f'<rect fill="currentColor" fill-opacity="0.75" x="{index * width:.1f}" y="{_HEIGHT - height:.1f}" '
        f'width="{width * 0.85:.1f}" height="{height:.1f}"/>'
        for index, count in enumerate(bins)
        if (height := _HEIGHT * count / highest) > 0
    )
    label = f"Histogram of {sum(bins)} clips in {len(bins)} bins over the range of the score"
    return (
        f'<svg role="img" aria-label="{label}" width="96" height="{_HEIGHT}" viewBox="0 0 96 {_HEIGHT}"><title>{label}</title>'
        f'<path stroke="currentColor" stroke-opacity="0.3" d="M0 {_HEIGHT}H96"/>{bars}</svg>'
    )
