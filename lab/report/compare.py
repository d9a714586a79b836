"""A bug on the left and its fix on the right, led along the same schedule, step by step."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from lab.operation import awaited, happening
from lab.report.steps import last_steps, rows, told
from lab.report.style import PLAIN, WIDTH, Style, columns, cut
from lab.trace import Action, Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.finding import Finding
    from lab.search.guided import Wait

_COLUMN = (WIDTH - 3) // 2
_ROWS = 20
_LINE = 24
"""Columns of "file:line"."""
_LOCKS = frozenset({Action.ACQUIRE, Action.RELEASE})


def compare(
    names: tuple[str, str],
    finding: Finding,
    events: Sequence[Event],
    waits: Sequence[Wait],
    style: Style = PLAIN,
) -> str:
    """The steps of a finding, beside those of the fix.

    Args:
        names: of the bug and of the fix.
        finding: of the bug, with its steps. If none of them conflict, its last ones are shown.
        events: the run of the fix.
        waits: where the fix could not follow.
        style: of the terminal.
    """
    damage = finding.key_steps[-1:]
    bug = [
        _row(event, "!" if event.step in damage else " ")
        for event in rows(finding) or last_steps(finding)
    ]
    fix = _fix(finding, events, waits)
    left = [f"BUG {names[0]}", *bug]
    right = [f"FIX {names[1]}", *fix[:_ROWS]]
    lines = [_line(one, other, style) for one, other in zip_longest(left, right, fillvalue="")]
    lines[0] = style.paint(lines[0], "bold")
    if len(fix) > _ROWS:
        lines.append(_line("", f"         shown {_ROWS} of {len(fix)}", style))
    return "\n".join(lines)


def listing(events: Iterable[Event], style: Style = PLAIN) -> str:
    """Every step on a line of its own: its number, who, what, and where in the program."""
    lines = []
    for event in events:
        where = cut(event.where.rpartition("/")[2], _LINE)
        room = WIDTH - columns(where) - 1
        what = cut(f"  {event.step:>6} {event.process:<5} {happening(event)}", room)
        lines.append(f"{what}{' ' * (room - columns(what))} {style.paint(where, 'dim')}".rstrip())
    return "\n".join(lines)


def _fix(finding: Finding, events: Sequence[Event], waits: Sequence[Wait]) -> list[str]:
    """What the same processes did to the same things, with locks, and who had to wait."""
    keys = [event for event in finding.steps if event.step in finding.key_steps] or last_steps(
        finding
    )
    tasks = {event.process for event in keys}
    # An exit is shown, and not all else that ever concerned that process.
    things = {event.object for event in keys if event.action is not Action.EXIT}
    ends = {event.object for event in keys if event.action is Action.EXIT}
    waiting = {wait.step: wait for wait in waits}
    first = next(
        ((w.step, w.pending.process) for w in waits if w.pending.process in tasks), (0, "")
    )
    told: list[str] = []
    for event in events:
        if (wait := waiting.get(event.step)) is not None:
            told.append(f"»{wait.step:>5} {wait.pending.process:<4} waits {awaited(wait.pending)}")
        ended = event.action in (Action.EXIT, Action.WAIT) and event.object in ends
        if event.process in tasks and (event.object in things or event.action in _LOCKS or ended):
            told.append(_row(event, " "))
        # Who had to wait now has what it waited for: the rest of the run says nothing new.
        if event.step > first[0] and event.process == first[1] and event.object in things:
            break
    return told


def _row(event: Event, mark: str) -> str:
    start = f"{mark}{event.step:>5} {event.process:<4} "
    return start + told(event, _COLUMN - columns(start))


def _line(left: str, right: str, style: Style) -> str:
    one, other = cut(left, _COLUMN), cut(right, _COLUMN)
    padded = one + " " * (_COLUMN - columns(one))
    if right.startswith("»"):
        other = style.paint(other.replace("»", style.switch, 1), "yellow")
    if left.startswith("!"):
        padded = style.paint(padded, "red")
    return f"{padded} {style.bar} {other}".rstrip()
