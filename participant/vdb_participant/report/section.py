"""The section of a page that shows clips: a table for each public prompt, a film strip for each model.

Promises that every word is escaped, that a clip which cannot be shown is said to be missing, and why in sentences of our own,
never in words of a command, a library or a server, and that the section stays small whatever the clips are. Leaves to
`choice.py` that everything in it is public.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from vdb_participant.generation.store import ClipStore, StoredClip
from vdb_participant.report.choice import Chosen, Place
from vdb_participant.report.strips import MOST_VALUES, Strip, film_strip, height_within
from vdb_shared.audit.page import headings, scrolling_table, unbroken
from vdb_shared.bundle.samples import Failure
from vdb_shared.spec import class_of

_SHOWN_HEIGHT: Final = 96
"""Pixels on the screen below which a strip is shown enlarged, in whole multiples."""

_SAID: Final = {
    Failure.STOPPED: "its model was stopped here, since clip after clip failed",
    Failure.ENDED: "its model ended with an error; the reason is in this site's own records",
    Failure.UNMEASURED: "it could not be measured",
}

_NOTHING: Final = "No clips of public prompts are kept here, so there is nothing to show."


def clips_section(chosen: Sequence[Chosen], store: ClipStore, site: str, values: int = MOST_VALUES) -> str:
    """Return the section as HTML.

    Args:
        chosen: what to show; prompts are left out from the end if the page would grow too large.
        store: of the clips.
        site: who made them, such as "clinic-lyon".
        values: that all pictures together may have.
    """
    shown = list(chosen)
    while (most := _height(shown, values)) is None:
        shown.pop()
    tables = "\n".join(_table(item, store, most) for item in shown)
    left_out = len(chosen) - len(shown)
    words = _explained(site) if shown else "" if left_out else f"<p>{_NOTHING}</p>"
    if left_out:
        words += f'<p class="reason">Left out to keep the page small: {left_out} of {len(chosen)} prompts.</p>'
    return (
        '<section class="card" aria-labelledby="clips"><h2 id="clips">Clips of public prompts, made here</h2>\n'
        f"{words}\n{tables}</section>"
    )


def _explained(site: str) -> str:
    return (
        f"<p>Made at {unbroken(site)}: of each model the first clip of the prompt that fell to this site, as up to five frames "
        "from the beginning to the end; large ones are scaled down, and nothing else is lost. Chosen are the prompts of which "
        "clips of the most models were made here, whatever the clips look like.</p>\n"
        '<p class="reason">Only public prompts, which stand in the benchmark\'s spec, are shown here. Nothing in this section '
        "comes from the institution's private prompts, videos or the clips that were made from them, so it may be shown to "
        "others. The pictures are this site's own; no signature covers them.</p>"
    )


def _height(chosen: Sequence[Chosen], values: int) -> int | None:
    shapes = [place.settings.shape for item in chosen for place in item.places if place.key is not None]
    return height_within(shapes, values)


def _table(chosen: Chosen, store: ClipStore, most: int) -> str:
    prompt = chosen.prompt
    rows = "\n".join(
        f'<tr><th scope="row" class="name">{escape(place.model)}</th>'
        f'<td class="words">{_cell(prompt.text, place, store, most)}</td></tr>'
        for place in chosen.places
    )
    caption = f"<strong>“{unbroken(prompt.text)}”</strong> <code>{unbroken(prompt.id)}</code>"
    return scrolling_table(f"Clips of “{prompt.text}”", caption, headings(("Model", "Clip")), rows, narrow="stacks")


def _cell(prompt: str, place: Place, store: ClipStore, most: int) -> str:
    if place.sample is None:
        return _words("Fell to another institution.")
    if place.failure is not None:
        return _words(f"Sample {place.sample} could not be made: {_SAID[place.failure]}.")
    clip = None if place.key is None else store.get(place.key)
    if clip is None:
        return _words(f"Sample {place.sample} was made here but is not in this site's store any more.")
    return _figure(prompt, place, clip, film_strip(clip.frames, most))


def _words(words: str) -> str:
    return f'<span class="reason">{unbroken(words)}</span>'


def _figure(prompt: str, place: Place, clip: StoredClip, strip: Strip) -> str:
    times = max(1, _SHOWN_HEIGHT // strip.height)
    pixels = ' class="pixels"' if times > 1 else ""
    profile = str(clip.record.get("profile", place.settings.profile))
    clip_class = str(clip.record.get("class", class_of(profile)))
    numbers = ", ".join(str(number + 1) for number in strip.frames)
    alt = (
        f"Film strip of the clip that {place.model} made of the prompt “{prompt}”: frames {numbers} of {len(clip.frames)}, "
        "from left to right."
    )
    caption = f"“{prompt}”: {place.model}, sample {place.sample}, class {clip_class}, profile {profile}"
    return (
        f'<figure><img{pixels} src="{strip.uri}" alt="{escape(alt)}" width="{times * strip.width}" '
        f'height="{times * strip.height}"><figcaption>{unbroken(caption)}</figcaption></figure>'
    )
