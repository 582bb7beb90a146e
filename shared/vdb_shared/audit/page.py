"""The frame of every HTML page: self-contained, no script, light and dark, readable by machines and people alike."""

from __future__ import annotations

import re
from html import escape
from typing import Final

_STYLE: Final = """
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#16202c;--soft:#4d5b6a;--line:#d9dfe6;--accent:#1f5fbf;
--good:#116329;--goodbg:#ddf4e4;--bad:#a40e26;--badbg:#ffe3e6;--warn:#7a4b00;--warnbg:#fff1d6;--track:#e8ecf1}
@media (prefers-color-scheme:dark){:root{--ground:#10151b;--card:#18202a;--ink:#e8edf3;--soft:#a5b2c0;--line:#2c3845;
--accent:#7db3ff;--good:#7ee2a0;--goodbg:#12351f;--bad:#ff9aa6;--badbg:#451820;--warn:#ffcf85;--warnbg:#3b2a0c;--track:#243040}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .4rem;text-wrap:balance}
h2{font-size:1.2rem;margin:0}
p{margin:.5rem 0}
.lead{color:var(--soft);max-width:48rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.25rem 1.4rem;margin-top:1.4rem;
overflow-x:auto}
.badge{display:inline-block;border-radius:999px;padding:.12rem .7rem;font-size:.82rem;font-weight:600;white-space:nowrap}
.good{color:var(--good);background:var(--goodbg)}.bad{color:var(--bad);background:var(--badbg)}
.warn{color:var(--warn);background:var(--warnbg)}.plain{color:var(--soft);background:var(--track)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:1rem 1.6rem;margin:0}
dt{color:var(--soft);font-size:.82rem}dd{margin:0;overflow-wrap:anywhere}dd strong{font-size:1.25rem}
code{font:.85em ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
caption{text-align:left;padding:0 0 .7rem}
caption .note{display:block;color:var(--soft);font-size:.88rem;max-width:50rem}
th,td{text-align:left;padding:.5rem .7rem;border-top:1px solid var(--line);vertical-align:middle;
overflow-wrap:anywhere}
thead th{border-top:0;color:var(--soft);font-size:.82rem;font-weight:600}
thead th,tbody th{overflow-wrap:break-word}
tbody th{font-weight:600}
tfoot td{border-top:1px solid var(--line);padding-top:.2rem;color:var(--soft);font-size:.82rem}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.rank{font-size:1.15rem;font-weight:700;white-space:nowrap}
tr.first .rank{color:var(--accent)}
.reason{color:var(--soft);font-size:.88rem}
table+table{margin-top:1.6rem}
figure{margin:0}figcaption{color:var(--soft);font-size:.82rem;margin-top:.3rem}
img{display:block;max-width:100%;height:auto;border-radius:4px}.pixels{image-rendering:pixelated}
svg{display:block;overflow:visible;color:var(--accent)}tfoot svg{color:var(--soft)}
footer{color:var(--soft);font-size:.88rem;margin-top:2rem}
@media (max-width:640px){th,td{padding:.45rem .4rem}main{padding-top:1.4rem}}
@media print{body{background:#fff}tr{break-inside:avoid}}
"""

_QUOTED: Final = re.compile("`([^`]*)`")
"""What a sentence says to type."""


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


def badge(kind: str, words: str) -> str:
    """Return a badge; kind is "good", "bad", "warn" or "plain"."""
    return f'<span class="badge {kind}">{escape(words)}</span>'


def fact(heading: str, words: str, *, big: str = "", code: bool = False) -> str:
    """Return one entry of a description list."""
    shown = f"<code>{escape(words)}</code>" if code else escape(words)
    strong = f"<strong>{escape(big)}</strong><br>" if big else ""
    return f"<div><dt>{escape(heading)}</dt><dd>{strong}{shown}</dd></div>"


def prose(words: str) -> str:
    """Return sentences as HTML, with what stands between backquotes as code."""
    return _QUOTED.sub(r"<code>\1</code>", escape(words))
