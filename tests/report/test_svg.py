"""Pictures for paper: well-formed, escaped, and no wider than what matters."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from lab.finding import Finding, Kind
from lab.report.picture import draw, picture
from lab.report.svg import Panel, shown, svg
from lab.trace import Action
from tests.detect.events import in_order, read, step, write

LOSS = in_order(
    step("P0", Action.FORK),
    step("P0", Action.FORK),
    read("P1", 4),
    *(step("P3", Action.SLEEP) for _ in range(200)),
    read("P2", 4),
    write("P2", 4, 5),
    write("P1", 5, 5),
)
LOST = Finding(Kind.LOST_UPDATE, "/n", "", key_steps=(2, 204, 205), steps=LOSS)


def _texts(drawn: str) -> list[str]:
    # The document is the lab's own.
    root = ET.fromstring(drawn)  # noqa: S314
    return ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_names_processes_and_says_what_conflicts() -> None:
    texts = _texts(svg([Panel("the bug", picture(LOST))], alternative="It was lost."))
    assert "✗ the bug" in texts
    assert {"P1", "P2", "read 4", "write 5"} <= set(texts)
    assert "⋯" in texts  # most of the run is left out, and that shows


def test_the_damage_is_red_and_has_a_glyph() -> None:
    drawn = svg([Panel("", picture(LOST))], alternative="")
    assert drawn.count("--c:var(--bad)") == 1
    assert "M-8.5 0a8.5" in drawn


def test_the_steps_that_conflict_are_shown_however_long_the_run() -> None:
    indices = shown(picture(LOST), 6)
    assert len(indices) == 6
    assert {2, 204, 205} <= set(indices)


def test_names_from_a_program_are_text_and_nothing_else() -> None:
    evil = "</text><script>alert(1)</script>\x1b\udcff"
    events = in_order(write("P1", 1, 2), step("P2", Action.READ, f"file:/{evil}"))
    drawn = svg([Panel(evil, draw(events, named=f"file:/{evil}"))], alternative=f'"{evil}')
    assert "<script" not in drawn
    assert "\x1b" not in drawn
    assert _texts(drawn)


def test_a_run_without_steps_is_an_empty_picture() -> None:
    assert _texts(svg([Panel("nothing", draw(()))], alternative="")) == ["✗ nothing"]
