"""Results as one HTML file that opens from disk: no network, no framework, nothing to install.

The page is a skeleton, a style, two scripts and the data. Everything that came from a program under
test is in the data, as JSON in a block that no browser runs, with each `<` escaped; the script puts
it into the page as text and never as markup. A content security policy says the same once more: it
allows this very script, by its hash, and no connection at all.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import __version__
from lab.report.glyphs import GLYPHS, WORDS
from lab.report.html.story import story_object
from lab.report.json import encode
from lab.report.story import shown
from lab.report.style import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.report.story import Report, Story


def render(report: Report) -> str:
    """The whole report as a page."""
    return page(
        report.stories,
        sources=report.sources,
        stopped=report.stopped,
        absences=report.absences,
    )


def page(
    stories: Sequence[Story],
    *,
    title: str = "",
    sources: Mapping[str, Mapping[int, str]] | None = None,
    home: str = "",
    stopped: str = "",
    absences: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        stories: what it tells, one after the other.
        title: of the window; by default what the first story is about.
        sources: lines of the program, to show where each step is; "file:line" alone without.
        home: where the name of the lab leads; "" for nowhere.
        stopped: why it does not tell everything; "" if it does.
        absences: what is gone, a line each.
    """
    data = {
        "stories": [story_object(story) for story in stories],
        "glyphs": GLYPHS,
        "words": WORDS,
        "sources": sources or {},
        "stopped": stopped,
        "absences": list(absences),
    }
    name = title or (stories[0].result.scenario if stories else "race-lab")
    script = read("lanes.js") + read("report.js").replace('"use strict";\n', "", 1)
    parts = {
        "{script_hash}": f"'sha256-{_digest(script)}'",
        "{title}": escape(printable(name)),
        "{style}": read("report.css"),
        "{brand}": f'<a href="{escape(home)}">← race-lab</a>' if home else "race-lab",
        "{text}": escape("\n\n".join(shown(story) for story in stories)),
        "{version}": __version__,
        "{data}": _inert(data),
        "{script}": script,
    }
    # Piece by piece and not by repeated replacing: data that look like a slot must stay data.
    rest, whole = read("page.html"), []
    for slot, text in parts.items():
        before, rest = rest.split(slot, 1)
        whole += [before, text]
    return "".join((*whole, rest))


def _inert(data: Any) -> str:
    """JSON that cannot end the element it stands in, nor begin another."""
    return encode(data, indent=None).replace("<", "\\u003c").replace(">", "\\u003e").rstrip()


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def read(name: str) -> str:
    """A file of this package: a part of a page."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
