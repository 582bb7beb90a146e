"""A plan as a picture: a self-contained HTML page, or one SVG image of it.

Promises no script, no font and no picture from elsewhere. Leaves the figures to `plan.py` and the frame to `audit/page.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from vdb_shared.audit.chart import WIDTH, Axis, error_bar, scale
from vdb_shared.audit.page import badge, fact, headings, instead, page, scrolling_table, unbroken
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.planning.plan import Outlook, Plan
from vdb_shared.planning.prediction import Expected
from vdb_shared.planning.words import ABOUT_DIFFERENCES, facts, number, ratio_words, what_a_metric_tells

_CONFIDENCE: Final = "95 %"
_BADGES: Final = {"exact": "good", "noised": "plain", "coarse": "warn", "unavailable": "bad"}
_BAR_WIDTH: Final = 160
_ROW: Final = 26
_LABEL: Final = 250
_WORDS: Final = 260
_INK: Final = "#16202c"
_ACCENT: Final = "#1f5fbf"
_SOFT: Final = "#4d5b6a"
_GROUND: Final = "#ffffff"


def plan_page(plan: Plan) -> str:
    """Return a plan as an HTML document."""
    title = f"Plan: {plan.scenario.spec.title}"
    body = [
        f"<h1>{escape(title)}</h1>",
        '<p class="lead">What a session of guessed clips would publish. Intervals are expected half-widths around guessed '
        "values: the widths are the prediction, the values are not.</p>",
        '<section class="card"><dl>' + "".join(fact(name, words) for name, words in facts(plan)) + "</dl></section>",
        '<section class="card">'
        + "".join(_metric_table(plan, outlook) for outlook in plan.outlooks)
        + f'<p class="reason">{unbroken(ABOUT_DIFFERENCES)}</p></section>',
        _what_if_card(plan),
    ]
    return page(title, "\n".join(body))


def plan_picture(plan: Plan) -> str:
    """Return a plan as an SVG image: expected intervals by metric, and beside them how other sessions would change them."""
    rows = list(_picture_rows(plan))
    height = sum(used for used, _ in rows) + 3 * _ROW
    width = _LABEL + WIDTH + 40 + _BAR_WIDTH + _WORDS
    parts, top = [], 2 * _ROW
    for used, drawn in rows:
        parts.append(f'<g transform="translate(0 {top})">{drawn}</g>')
        top += used
    title = escape(f"Plan: {plan.scenario.spec.title}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui,sans-serif" font-size="13" color="{_ACCENT}">'
        f'<title>{title}</title><rect width="{width}" height="{height}" fill="{_GROUND}"/>'
        f'<text x="12" y="24" font-size="17" font-weight="600" fill="{_INK}">{title}</text>'
        f'<text x="{_LABEL}" y="44" fill="{_SOFT}">expected {_CONFIDENCE} intervals</text>'
        f'<text x="{_LABEL + WIDTH + 40}" y="44" fill="{_SOFT}">their length in other sessions (bar: as now)</text>'
        f"{''.join(parts)}</svg>\n"
    )


def _picture_rows(plan: Plan) -> Iterator[tuple[int, str]]:
    """Yield height and drawing of each metric."""
    for outlook in plan.outlooks:
        metric = outlook.metric
        found = plan.of((metric.id, metric.inputs))
        axis = _axis(found)
        lines = [
            f'<text x="12" y="17" font-weight="600" fill="{_INK}">{escape(metric.id)} '
            f'<tspan font-weight="400" fill="{_SOFT}">{metric.inputs} prompts</tspan></text>'
        ]
        if axis is not None:
            lines.append(scale(axis).replace("<svg ", f'<svg x="{_LABEL}" y="6" color="{_SOFT}" ', 1))
        for place, item in enumerate(found, start=1):
            lines.append(
                f'<text x="24" y="{place * _ROW + 17}" fill="{_INK}">{escape(item.model)}'
                f'<tspan fill="{_SOFT}"> {item.grade}</tspan></text>'
            )
            bar = _interval(axis, item)
            lines.append(bar.replace("<svg ", f'<svg x="{_LABEL}" y="{place * _ROW}" ', 1))
        ratios = list(_ratios(plan, outlook))
        lines += [
            f'<svg x="{_LABEL + WIDTH + 40}" y="{place * _ROW}" width="{_BAR_WIDTH}" height="24" '
            f'viewBox="0 0 {_BAR_WIDTH} 24">{_ratio_shape(ratio)}</svg>'
            f'<text x="{_LABEL + WIDTH + 48 + _BAR_WIDTH}" y="{place * _ROW + 17}" fill="{_SOFT}">{escape(name)}</text>'
            for place, (name, ratio) in enumerate(ratios)
        ]
        yield _ROW * max(len(found) + 1, len(ratios)) + 10, "".join(lines)


def _metric_table(plan: Plan, outlook: Outlook) -> str:
    metric, definition = outlook.metric, definition_of(outlook.metric.id)
    found = plan.of((metric.id, metric.inputs))
    axis = _axis(found)
    rows = "".join(
        f'<tr><th scope="row" class="name">{escape(item.model)}</th><td>{badge(_BADGES[item.grade], item.grade)}</td>'
        f'<td class="number">{number(item.value)}</td><td class="number">± {number(item.half_width)}</td>'
        f"<td>{_interval(axis, item)}</td></tr>" + (f"<tr>{instead(5, item.reason)}</tr>" if item.reason else "")
        for item in found
    )
    ends = "" if axis is None else f'<tr><td colspan="4"></td><td>{scale(axis)}</td></tr>'
    unit = f", {definition.unit}" if definition.unit else ""
    caption = (
        f"<h2>{escape(definition.title)} <code>{unbroken(metric.id)}</code></h2>"
        f'<span class="note">{unbroken(f"{metric.inputs} prompts{unit}. {what_a_metric_tells(outlook)}")}</span>'
    )
    head = headings(("Model", "Grade", "Guessed", "Half-width", "Interval"), ("Guessed", "Half-width"))
    return scrolling_table(f"{definition.title}, {metric.inputs} prompts", caption, head, rows, ends)


def _what_if_card(plan: Plan) -> str:
    if not plan.what_ifs:
        return ""
    rows = []
    for outlook in plan.outlooks:
        key = outlook.metric.id, outlook.metric.inputs
        cells = "".join(
            f"<td>{_ratio_bar(item.changes[key].ratio)}{unbroken(ratio_words(item.changes[key]))}</td>"
            if key in item.changes
            else "<td>–</td>"
            for item in plan.what_ifs
        )
        rows.append(f'<tr><th scope="row" class="name"><code>{key[0]}</code> {key[1]}</th>{cells}</tr>')
    problems = "".join(
        f'<p class="reason">{unbroken(item.name)}: {unbroken(item.problem)}</p>'
        for item in plan.what_ifs
        if item.problem
    )
    caption = '<h2>Other sessions</h2><span class="note">Length of the intervals by that of the plan.</span>'
    head = headings(("Metric", *(item.name for item in plan.what_ifs)))
    shown = scrolling_table("Other sessions", caption, head, "".join(rows))
    return f'<section class="card">{shown}{problems}</section>'


def _ratios(plan: Plan, outlook: Outlook) -> Iterator[tuple[str, float | None]]:
    key = outlook.metric.id, outlook.metric.inputs
    for item in plan.what_ifs:
        if key in item.changes:
            ratio = item.changes[key].ratio
            yield f"{item.name}: {ratio_words(item.changes[key])}", ratio


def _axis(found: Sequence[Expected]) -> Axis | None:
    ends = [
        end
        for item in found
        if item.value is not None and item.half_width is not None
        for end in (item.value - item.half_width, item.value + item.half_width)
    ]
    return Axis.over(ends) if ends else None


def _interval(axis: Axis | None, item: Expected) -> str:
    if axis is None or item.value is None or item.half_width is None:
        return f'<svg width="{WIDTH}" height="24" viewBox="0 0 {WIDTH} 24"></svg>'
    low, high = item.value - item.half_width, item.value + item.half_width
    return error_bar(axis, f"{item.value:.4g}", f"{low:.6g}", f"{high:.6g}", _CONFIDENCE)


def _ratio_bar(ratio: float | None) -> str:
    return f'<svg aria-hidden="true" width="{_BAR_WIDTH}" height="24" viewBox="0 0 {_BAR_WIDTH} 24">{_ratio_shape(ratio)}</svg>'


def _ratio_shape(ratio: float | None) -> str:
    """Return a bar as long as the ratio, up to 2, with a mark where nothing changes."""
    middle = _BAR_WIDTH / 2
    mark = f'<path stroke="currentColor" stroke-opacity="0.5" d="M{middle} 3v18"/>'
    if ratio is None:
        return mark
    length = round(min(ratio, 2.0) * middle, 1)
    return f'<rect fill="currentColor" fill-opacity="0.55" x="0" y="8" width="{length}" height="8"/>{mark}'
