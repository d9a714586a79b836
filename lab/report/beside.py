"""A bug on the left, its fixes on the right: what the eye compares, it learns."""

from __future__ import annotations

import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING

from lab.finding import Verdict
from lab.report.style import PLAIN, WIDTH, Style, columns, cut, printable
from lab.report.terminal import count, kinds, mark, title

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.check import Judged
    from lab.finding import Finding, Result

Line = tuple[str, tuple[str, ...]]
"""A line that is not yet padded, and the looks that it will be painted in."""

_BLANK: Line = ("", ())
_COLUMN = (WIDTH - 3) // 2
_DETAILS = 4


def beside(case: Sequence[Judged], style: Style = PLAIN) -> str:
    """What was caught in the bug of a case, beside what was not in its fixes."""
    left: list[Line] = []
    right: list[Line] = []
    # Titles as tall as the tallest of the first row, so that the two verdicts face each other.
    tall = max((len(_title(judged)) for judged in case[:2]), default=0)
    for judged in case:
        side = left if judged.scenario.role == "bug" else right
        if side:
            side.extend([_BLANK, *_title(judged)])
        else:
            side.extend([*_title(judged), *[_BLANK] * (tall - len(_title(judged)))])
        side.extend(_found(judged, style))
    bar = style.paint(style.bar, "dim")
    return "\n".join(
        f"{_painted(one, style, pad=True)} {bar} {_painted(other, style, pad=False)}".rstrip()
        for one, other in zip_longest(left, right, fillvalue=_BLANK)
    )


def rule(name: str, style: Style = PLAIN) -> str:
    """A line across the page with a name in it."""
    start = f"{style.rule * 2} {printable(name)} "
    return style.paint(start + style.rule * (WIDTH - columns(start)), "bold")


def closing(cases: Iterable[Sequence[Judged]], style: Style = PLAIN) -> str:
    """The table of all cases: what was caught in the bug, and how many of the fixes held."""
    lines = [style.paint(f"  {'BUG':<36}   {'CAUGHT':<25}   FIXES", "dim")]
    for case in cases:
        bugs = [judged for judged in case if judged.scenario.role == "bug"]
        fixes = [judged for judged in case if judged.scenario.role == "fix"]
        name = bugs[0].scenario.id if bugs else f"({fixes[0].scenario.fixes} was not run)"
        caught = kinds(bugs[0].result) or bugs[0].result.verdict if bugs else ""
        held = f"{sum(not fix.differences for fix in fixes)} of {len(fixes)} held"
        lines.append(
            f"  {cut(name, 36):<36} {_tick(bugs, style)} {cut(caught, 25):<25} "
            f"{_tick(fixes, style)} {held if fixes else ''}".rstrip()
        )
    return "\n".join(lines)


def _tick(judged: Sequence[Judged], style: Style) -> str:
    # Here it means "as declared": a bug that was caught has earned it.
    if any(each.differs for each in judged):
        return style.paint(style.bad, "red")
    if any(each.undecided or each.skipped for each in judged):
        return style.paint(style.unknown, "yellow")
    return style.paint(style.good, "green") if judged else " "


def _title(judged: Judged) -> list[Line]:
    scenario = judged.scenario
    name = cut(f"{scenario.role.upper()} {scenario.name}", _COLUMN)
    return [(name, ("bold",)), *((line, ("dim",)) for line in _fold(scenario.summary))]


def _found(judged: Judged, style: Style) -> list[Line]:
    scenario, result = judged.scenario, judged.result
    lines: list[Line] = []
    if result.findings:
        for finding, runs in zip(result.findings, result.seen_in, strict=True):
            lines.extend(_caught(finding, runs, result, style))
    else:
        lines.extend(_nothing(result, style))
    if judged.differences:
        expects = ", ".join(sorted(scenario.expects)) or "no finding"
        lines.extend((line, ("yellow", "bold")) for line in _fold(f"but expected {expects}"))
    return lines


def _caught(finding: Finding, runs: int, result: Result, style: Style) -> list[Line]:
    glyph, look = mark(result.verdict, style)
    return [
        (_ends(f"{glyph} {title(finding)}", f"{runs} of {count(result.runs, 'run')}"), (look,)),
        *((line, ()) for line in _fold(finding.summary, "  ")),
        *((line, ()) for text in _first(finding.details) for line in _fold(text, "    ", "      ")),
    ]


def _nothing(result: Result, style: Style) -> list[Line]:
    glyph, look = mark(result.verdict, style)
    if result.verdict in (Verdict.ERROR, Verdict.VACUOUS):
        reason = [(line, ()) for line in _fold(result.reason, "  ")]
        return [(f"{glyph} {result.verdict.upper()}", (look,)), *reason]
    lines: list[Line] = [(_ends(f"{glyph} no finding", count(result.runs, "run")), (look,))]
    lines.extend((f"  {cut(each.result, _COLUMN - 2)}", ()) for each in result.outcomes)
    return lines


def _first(details: tuple[str, ...]) -> tuple[str, ...]:
    if len(details) <= _DETAILS:
        return details
    return (*details[: _DETAILS - 1], f"and {len(details) - _DETAILS + 1} more")


def _fold(text: str, indent: str = "", hang: str | None = None) -> list[str]:
    return textwrap.wrap(
        printable(text),
        _COLUMN,
        initial_indent=indent,
        subsequent_indent=indent if hang is None else hang,
        break_on_hyphens=False,
    )


def _ends(left: str, right: str) -> str:
    """Both on one line, at its two ends; the left one gives way."""
    left = cut(left, _COLUMN - columns(right) - 1)
    return f"{left}{' ' * (_COLUMN - columns(left) - columns(right))}{right}"


def _painted(line: Line, style: Style, *, pad: bool) -> str:
    text, looks = line
    room = " " * (_COLUMN - columns(text)) if pad else ""
    return (style.paint(text, *looks) if looks else text) + room
