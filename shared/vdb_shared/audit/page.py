"""The frame of every HTML page: self-contained, no script, light and dark, readable by machines and people alike.

Promises that a page is never wider than the screen: tables scroll in containers of their own, and captions stay in sight.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from html import escape
from typing import Final, Literal

_STYLE: Final = """
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#16202c;--soft:#4d5b6a;--line:#d9dfe6;--accent:#1f5fbf;
--good:#116329;--goodbg:#ddf4e4;--bad:#a40e26;--badbg:#ffe3e6;--warn:#7a4b00;--warnbg:#fff1d6;--track:#e8ecf1;
--shade:rgb(22 32 44/.2)}
@media screen and (prefers-color-scheme:dark){:root{--ground:#10151b;--card:#18202a;--ink:#e8edf3;--soft:#a5b2c0;--line:#2c3845;
--accent:#7db3ff;--good:#7ee2a0;--goodbg:#12351f;--bad:#ff9aa6;--badbg:#451820;--warn:#ffcf85;--warnbg:#3b2a0c;--track:#243040;
--shade:rgb(0 0 0/.7)}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
overflow-wrap:break-word}
main{max-width:1080px;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .4rem;text-wrap:balance}
h2{font-size:1.2rem;margin:0}
p{margin:.5rem 0}
.lead{color:var(--soft);max-width:48rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.25rem 1.4rem;margin-top:1.4rem}
.scroll{overflow-x:auto;container-type:inline-size;
background:linear-gradient(90deg,var(--card) 40%,transparent) 0/2.5rem 100% no-repeat local,
linear-gradient(270deg,var(--card) 40%,transparent) 100%/2.5rem 100% no-repeat local,
linear-gradient(90deg,var(--shade),transparent) 0/.5rem 100% no-repeat scroll,
linear-gradient(270deg,var(--shade),transparent) 100%/.5rem 100% no-repeat scroll}
.scroll:focus-visible{outline:2px solid var(--accent);outline-offset:4px}
.scroll+.scroll{margin-top:1.6rem}
.badge{display:inline-block;border-radius:1rem;padding:.12rem .7rem;font-size:.82rem;font-weight:600}
td .badge,th .badge{white-space:nowrap}
.good{color:var(--good);background:var(--goodbg)}.bad{color:var(--bad);background:var(--badbg)}
.warn{color:var(--warn);background:var(--warnbg)}.plain{color:var(--soft);background:var(--track)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(15rem,100%),1fr));gap:1rem 1.6rem;margin:0}
dt{color:var(--soft);font-size:.82rem}dd{margin:0;overflow-wrap:anywhere}dd strong{font-size:1.25rem}
code{font:.85em ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
caption{text-align:left;padding:0 0 .7rem}
caption div{position:sticky;left:0;max-width:85vw;max-width:calc(100cqi - .6rem)}
caption .note{display:block;color:var(--soft);font-size:.88rem;max-width:50rem}
th,td{text-align:left;padding:.5rem .7rem;border-top:1px solid var(--line);vertical-align:middle}
.words,.reason{overflow-wrap:anywhere}td.words{min-width:8rem}li{margin:.3rem 0}
thead th{border-top:0;color:var(--soft);font-size:.82rem;font-weight:600}
tbody th{font-weight:600}
.name,td .whole,th .whole{white-space:nowrap}
.whole{display:inline-block;max-width:100%;overflow-wrap:anywhere}
td .whole,th .whole{max-width:none}
tfoot td{border-top:1px solid var(--line);padding-top:.2rem;color:var(--soft);font-size:.82rem}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
thead .number{white-space:normal}
.rank{font-size:1.15rem;font-weight:700;white-space:nowrap}
tr.first .rank{color:var(--accent)}
.reason{color:var(--soft);font-size:.88rem}
figure{margin:0}figcaption{color:var(--soft);font-size:.82rem;margin-top:.3rem}
img{display:block;max-width:100%;height:auto;border-radius:4px}.pixels{image-rendering:pixelated}
svg{display:block;overflow:visible;color:var(--accent)}tfoot svg{color:var(--soft)}
footer{color:var(--soft);font-size:.88rem;margin-top:2rem}
@media (max-width:640px){th,td{padding:.45rem .3rem}main{padding:1.4rem .8rem 3rem}.card{padding:1rem}
.said{max-width:max(9rem,100cqi - 10rem)}td.name+.reason .said{max-width:max(7rem,100cqi - 15.5rem)}
td svg{max-width:8.5rem;height:auto}tfoot td{padding-top:.6rem}tfoot text{font-size:22px}
.stacks thead{display:none}.stacks tr{display:flex;flex-wrap:wrap;justify-content:space-between}
.stacks tr{border-top:1px solid var(--line)}.stacks th,.stacks td{border:0}.stacks td.words{flex:0 0 100%;padding-top:0}
.folds thead,.folds td:empty{display:none}.folds tr{display:flex;flex-wrap:wrap;align-items:baseline;padding:.35rem 0}
.folds tr{border-top:1px solid var(--line)}.folds th,.folds td{border:0;padding:.1rem .3rem}
.folds .line{flex:0 0 100%}.folds .name:not(.line){flex:1 1 0;min-width:0;white-space:normal;overflow-wrap:anywhere}
.folds td.number{flex:1 0 auto;text-align:left}.folds .name+td.number{flex:0 0 auto;text-align:right}
.folds td[data-name]::before{content:attr(data-name) " ";color:var(--soft);font-size:.82rem;font-weight:400}
.folds td.line svg{max-width:none;width:100%}.folds tfoot text{font-size:12px}.folds td.line .said{max-width:none}}
@media print{html,body{background:#fff;font-size:11px}main{max-width:none;padding:0}.card{border:0;padding:0}
.scroll{overflow:visible;background:none}th,td{padding:.2rem .35rem}tr,figure,.scroll:not(.stacks){break-inside:avoid}
details::details-content{content-visibility:visible}}
"""

_QUOTED: Final = re.compile("`([^`]*)`")
"""What a sentence says to type."""

_WHOLE: Final = re.compile(
    r"[(“‘\"']{0,3}(?:"  # a browser breaks a line also between a bracket and what is kept whole
    # Names, moments, ranges, options: vdb-tiny-2, 2026-11-23T00:27:01Z, 1–2.
    r"(?<!\w)-{0,2}\w[\w.:@+]{0,79}(?:[-–][\w.:@+]{1,80}){1,20}"
    r"|(?<!\w)--\w{1,80}"
    r"|[±×] ?\d[\d.,]{0,79}"
    r"|[εδρτ] = \d[\d.,]{0,79}"
    r"|\d[\d.,]{0,79} (?:%|[kMG]?B\b|s\b)"
    r")[)”’\"'.,;:!?]{0,3}"
)
"""What a line does not break in, though it has hyphens or blanks, with the marks around it.

Lengths are bounded, so that other people's words take time in proportion to their length.
"""


def page(title: str, body: str, *, pictures: bool = False) -> str:
    """Return a whole HTML document.

    Args:
        title: text.
        body: HTML.
        pictures: whether the body holds pictures as data: URIs; the page allows none from elsewhere either way.
    """
    images = " img-src data:;" if pictures else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';{images} style-src 'unsafe-inline'\">\n"
        f'<meta name="referrer" content="no-referrer">\n<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


Narrow = Literal["", "stacks", "folds"]
"""What a narrow screen makes of a table's rows: nothing, they scroll; cells of class "words" stand below the others, for tables
of sentences; or each row takes several lines, those of class "line" a whole one, and cells made by `cell` say what they are."""


def scrolling_table(name: str, caption: str, head: str, body: str, foot: str = "", *, narrow: Narrow = "") -> str:
    """Return a table in a container of its own, which scrolls sideways where the screen is too narrow for it.

    Args:
        name: of the container, for those who do not see it: text.
        caption: HTML.
        head: HTML of its headings, see `headings`.
        body: HTML of rows.
        foot: HTML of the rows below them, or "".
        narrow: what a narrow screen makes of the rows.
    """
    return (
        f'<div class="scroll{f" {narrow}" if narrow else ""}" role="region" aria-label="{escape(name)}" tabindex="0">'
        f"<table><caption><div>{caption}</div></caption><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{body}</tbody>{f'<tfoot>{foot}</tfoot>' if foot else ''}</table></div>"
    )


def instead(columns: int, words: str) -> str:
    """Return a cell that says why there are no figures; on a narrow screen its words are as wide as can be seen at once."""
    return f'<td colspan="{columns}" class="reason line"><div class="said">{unbroken(words)}</div></td>'


def cell(name: str, content: str, kind: str = "number") -> str:
    """Return a cell that says on a narrow screen, where there are no headings, what it is.

    Args:
        name: heading of its column: text.
        content: HTML.
        kind: its classes.
    """
    return f'<td class="{kind}" data-name="{escape(name)}">{content}</td>'


def headings(names: Sequence[str], numeric: Collection[str] = ()) -> str:
    """Return the headings of columns; those of `numeric` stand on the right, as their numbers do."""
    return "".join(
        f'<th scope="col"{" class=number" if name in numeric else ""}>{unbroken(name)}</th>' for name in names
    )


def badge(kind: str, words: str) -> str:
    """Return a badge; kind is "good", "bad", "warn" or "plain"."""
    return f'<span class="badge {kind}">{escape(words)}</span>'


def fact(heading: str, words: str, *, big: str = "", code: bool = False) -> str:
    """Return one entry of a description list."""
    shown = f"<code>{escape(words)}</code>" if code else unbroken(words)
    strong = f"<strong>{escape(big)}</strong><br>" if big else ""
    return f"<div><dt>{escape(heading)}</dt><dd>{strong}{shown}</dd></div>"


def prose(words: str) -> str:
    """Return sentences as HTML, with what stands between backquotes as code."""
    parts = (unbroken(part) for part in _QUOTED.split(words))
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def unbroken(words: str) -> str:
    """Return text as HTML in which names, moments, and numbers with their units stay on one line."""
    shown, end = [], 0
    for found in _WHOLE.finditer(words):
        shown += [escape(words[end : found.start()]), f'<span class="whole">{escape(found[0])}</span>']
        end = found.end()
    return "".join([*shown, escape(words[end:])])
