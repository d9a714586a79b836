"""The steps of a finding as a table: one column for each process, one row for each step.

The steps that conflict are shown, and between them whatever the same processes did to the same
things; where that is much, only what each did to the same thing just before it. Everything else is
counted and not shown: a reader compares two columns, and thirty rows hide the three that matter.

Where no steps are known to conflict, an assertion failed say, its schedule still tells where the
order mattered: what a process had done when another took its turn, what that one did then, and
with what the first went on.
"""

from __future__ import annotations

import itertools
import string
from typing import TYPE_CHECKING

from lab.operation import PRINTED, happening, short
from lab.report.style import PLAIN, WIDTH, Style, columns, cut, printable
from lab.search.token import BadToken, Token
from lab.trace import Action, Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.finding import Finding

_ROWS = 6
"""More rows than these are thinned out; the steps that conflict are shown, up to `_MOST`."""
_MOST = 16
_TURNS = 3
_COLUMNS = 3
_LINE = 24
"""Columns of "file:line"."""
_CELL = 32
"""Columns of a process at 80; more than that only spreads the few words in it."""
_MARGIN = 9
"""Columns of the mark and the number: "  ! 1234 "."""
_LOCKS = frozenset({Action.ACQUIRE, Action.RELEASE})
_BIRTHS = frozenset({Action.FORK, Action.START, Action.EXEC})


def table(finding: Finding, style: Style = PLAIN) -> str:
    """The steps of a controlled run that make the finding; "" where none are known."""
    window = _window(finding)
    shown = _rows(window, finding.key_steps) or turns(finding)
    if not shown:
        return ""
    processes = sorted({event.process for event in shown}, key=_birth)
    line = max(columns(_line(event)) for event in shown)
    room = style.width - _MARGIN - (line + 1 if line else 0)
    width = min(_CELL + (style.width - WIDTH) // 3, room // len(processes) - 2)

    def row(mark: str, number: str, cells: Iterable[str], where: str = "") -> str:
        text = style.bar.join(f" {_padded(cell, width)}" for cell in cells)
        return f"  {mark} {number:>4} {style.bar}{text} {where}".rstrip()

    lines = [style.paint(row(" ", "step", processes), "dim")]
    switches = _switches(shown)
    damage = finding.key_steps[-1] if finding.key_steps else None
    for index, event in enumerate(shown):
        cells = dict.fromkeys(processes, "")
        cells[event.process] = told(event, width - 1)
        if index in switches:
            count = f"{switches.index(index) + 1} of {len(switches)}"
            cells[shown[index - 1].process] = f"  {style.switch} switch ({count})"
        if event.step == damage:
            text = row("!", str(event.step), cells.values(), _line(event))
            lines.append(style.paint(text, "red"))
        else:
            lines.append(row(" ", str(event.step), cells.values(), _line(event)))
    hidden = []
    if (more := len(window) - len(shown)) > 0:
        steps = "1 other step" if more == 1 else f"{more} other steps"
        hidden.append(f"{steps} in between, not shown")
    others = {event.process for event in window if event.step in finding.key_steps}
    if others := others.difference(processes):
        names = cut(" ".join(sorted(others, key=_birth)), style.width - _MARGIN - 32)
        hidden.append(f"{names} did the like, not shown")
    lines += [style.paint(f"{' ' * _MARGIN}{style.bar} {text}", "dim") for text in hidden]
    return "\n".join(lines)


def rows(finding: Finding) -> list[Event]:
    """The steps of a finding that are shown; none where none conflict."""
    return _rows(_window(finding), finding.key_steps)


def last_steps(finding: Finding) -> list[Event]:
    """How a run came to its end that shows a finding in which no steps conflict.

    That is what the processes concerned did last to the things concerned; to anything, if they
    never touched those: who waits for what never comes has not.
    """
    named = set(finding.object.split(", "))
    own = [
        event
        for event in finding.steps
        if event.object not in ("", PRINTED)
        and event.action not in _BIRTHS
        and (not finding.processes or event.process in finding.processes)
    ]
    concerned = [
        event for event in own if not named.isdisjoint((event.object, short(event.object)))
    ]
    return (concerned or own)[-_MOST // 2 :]


def _window(finding: Finding) -> list[Event]:
    """What happened from the first of the steps that conflict to the last."""
    if not finding.key_steps:
        return []
    first, last = min(finding.key_steps), max(finding.key_steps)
    return [event for event in finding.steps if first <= event.step <= last]


def turns(finding: Finding) -> list[Event]:
    """The steps round each preemption, in a finding where none conflict, if there are few."""
    try:
        deviations = Token.read(finding.schedule).schedule.deviations
    except BadToken:
        return []
    if len(deviations) > _TURNS:
        return []
    shown: dict[int, Event] = {}
    for at, process in deviations:
        before = next((e for e in reversed(finding.steps) if e.step < at), None)
        turn = (e for e in finding.steps if e.step >= at and e.process == process)
        taken = next((e for e in turn if e.action not in _BIRTHS), None)
        if before is None or taken is None:
            continue
        after = (e for e in finding.steps if e.step > taken.step and e.process == before.process)
        shown |= {event.step: event for event in (before, taken, *itertools.islice(after, 1))}
    return [event for _, event in sorted(shown.items())]


def _rows(window: Sequence[Event], key_steps: Sequence[int]) -> list[Event]:
    keys = [event for event in window if event.step in key_steps]
    tasks = list(dict.fromkeys(event.process for event in keys))[:_COLUMNS]
    # An exit is shown, and not all else that ever concerned that process.
    things = {event.object for event in keys if event.action is not Action.EXIT}
    rows = [
        event
        for event in window
        if event.process in tasks
        and (event.step in key_steps or event.object in things or event.action in _LOCKS)
    ]
    if len(rows) > _ROWS:
        rows = _thinned(rows, key_steps)
    return rows


def _thinned(rows: Sequence[Event], key_steps: Sequence[int]) -> list[Event]:
    """The steps that conflict, each with the one that its process did before it to that thing.

    It is mostly the read that a write comes from.
    """
    shown = [event.step for event in rows if event.step in key_steps][:_MOST]
    for key in [event for event in rows if event.step in shown]:
        before = [
            event.step
            for event in rows
            if event.step < key.step
            and (event.process, event.object) == (key.process, key.object)
            and event.action is not key.action
        ]
        if len(shown) < _ROWS and before and before[-1] not in shown:
            shown.append(before[-1])
    return [event for event in rows if event.step in shown]


def _switches(rows: Sequence[Event]) -> list[int]:
    """The rows at which another process goes on, although the one before still has some to come."""
    return [
        index
        for index in range(1, len(rows))
        if rows[index].process != rows[index - 1].process
        and any(later.process == rows[index - 1].process for later in rows[index:])
    ]


def told(event: Event, width: int) -> str:
    """What happened; the value last of all is cut, and the name gives way to it."""
    name = short(event.object)
    place = f"+{event.offset}" if event.offset else ""
    room = max(width - columns(printable(happening(event, place or "x"))), 4)
    return happening(event, shortened(name, room + (0 if place else 1)) + place)


def shortened(name: str, width: int) -> str:
    """A path gives up its beginning, for files are told apart by their ends; others their end."""
    line = printable(name)
    if "/" not in line[1:] or columns(line) <= width:
        return cut(line, width)
    while columns(line) > width - 3:
        line = line[1:]
    return f"...{line[max(line.find('/'), 0) :]}"


def _line(event: Event) -> str:
    """Where in the program, by the file's own name: its directory is in the JSON."""
    return cut(event.where.rpartition("/")[2], _LINE)


def _birth(name: str) -> tuple[int, str]:
    digits = "".join(
        character for character in name.partition(".")[0] if character in string.digits
    )
    return (int(digits or 0), name)


def _padded(text: str, width: int) -> str:
    shown = cut(text, width - 1)
    return shown + " " * (width - columns(shown))
