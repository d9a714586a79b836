"""The index of the gallery: each family, and of each bug a picture, what it shows and its fixes.

No script and no data: it is text and pictures, and each of them leads to a page that has both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from lab import __version__
from lab.finding import Verdict
from lab.report.html import read
from lab.report.style import PLAIN, printable
from lab.report.terminal import count, kinds, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.report.story import Story


@dataclass(frozen=True)
class Card:
    """A bug with its fixes, as the index shows it."""

    family: str
    story: Story
    page: str
    """Where its page is, from the index."""
    picture: str = ""
    """Where its picture is; "" if there is none."""


def index(cards: Sequence[Card]) -> str:
    """The index as one HTML file beside the pages and pictures that it leads to."""
    families = [(name, list(group)) for name, group in groupby(cards, key=lambda e: e.family)]
    parts = {
        "{style}": read("report.css") + read("gallery.css"),
        "{lead}": _text(_lead(cards)),
        "{families}": "".join(
            f'<a href="#{_text(name)}">{_text(name.replace("_", " "))} <small>{len(group)}</small>'
            "</a>"
            for name, group in families
        ),
        "{sections}": "\n".join(
            f'<section class="family" id="{_text(name)}"><h2>{_text(name.replace("_", " "))}</h2>'
            f'<div class="exhibits">{"".join(map(_drawn, group))}</div></section>'
            for name, group in families
        ),
        "{version}": __version__,
    }
    rest, whole = read("gallery.html"), []
    for slot, text in parts.items():
        before, rest = rest.split(slot, 1)
        whole += [before, text]
    return "".join((*whole, rest))


def _lead(cards: Sequence[Card]) -> str:
    caught = sum(card.story.result.verdict is Verdict.FAILED for card in cards)
    led = [led.result.verdict for card in cards for led in card.story.led]
    held = sum(verdict in (Verdict.PASSED, Verdict.PROVED) for verdict in led)
    return (
        f"{count(len(cards), 'program')} of several processes that go wrong, each beside "
        "versions that do not. The lab decides which process moves next, so each bug happens when "
        f"it is looked for: {caught} of {len(cards)} were caught, and {held} of "
        f"{count(len(led), 'fix', 'fixes')} held when led along the schedule of their bug. Open "
        "one to step through both."
    )


def _drawn(card: Card) -> str:
    result = card.story.result
    name = result.scenario.partition(".")[2] or result.scenario
    shown = kinds(result).replace("-", " ") or str(result.verdict)
    picture = f'<img src="{_text(card.picture)}" loading="lazy" alt="">' if card.picture else ""
    fixes = "".join(
        f'<li class="{led.result.verdict}">{mark(led.result.verdict, PLAIN)[0]} '
        f"{_text(led.result.scenario.partition('.')[2])}</li>"
        for led in card.story.led
    )
    return (
        f'<a class="exhibit {result.verdict}" href="{_text(card.page)}">'
        f'<span class="frame">{picture}</span>'
        f'<span class="kind">{mark(result.verdict, PLAIN)[0]} {_text(shown)}</span>'
        f"<h3>{_text(name.replace('_', ' '))}</h3><p>{_prose(card.story.summary)}</p>"
        f"<ul>{fixes}</ul></a>"
    )


def _prose(text: str) -> str:
    """With what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", _text(text))


def _text(text: str) -> str:
    return escape(printable(text))
