"""What is to be drawn of a run: lanes, marks, arrows, and what the things held in between.

The step list is the truth and stays beside this; here is what the eye needs and the list does not
say outright: whose lane a step is in and which glyph it has, when each process was born, ended and
was reaped, which message arrived where, what a place held from one step to the next. It is worked
out once, in Python, and drawn twice: by `svg` for paper and by the HTML report's script.

Everything counts in *indices* into the steps of the finding, not in step numbers, since of a long
run only a part may be kept.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.finding import Kind
from lab.operation import awaited, happening, short, signal_name, through_call, value
from lab.report import steps
from lab.report.arrows import Arrow, arrows
from lab.report.lives import Lane, is_process, lanes
from lab.report.places import Place, places
from lab.report.style import cut
from lab.trace import Action, Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lab.finding import Finding
    from lab.search.guided import Wait

_TEXT = 60
_VALUE = 18
_NAME = 16
_CHANGES = frozenset({Action.WRITE, Action.UPDATE, Action.SEND, Action.CREATE, Action.REMOVE})
_LIVES = frozenset({Action.FORK, Action.START, Action.EXIT, Action.EXEC})
_TOUCHING = frozenset(
    {
        Action.READ,
        Action.WRITE,
        Action.UPDATE,
        Action.ACQUIRE,
        Action.RELEASE,
        Action.SEND,
        Action.RECEIVE,
        Action.OPEN,
        Action.CREATE,
        Action.REMOVE,
    }
)


@dataclass(frozen=True)
class Mark:
    """One step, as it is drawn."""

    lane: int
    glyph: str
    """What it looks like: an action's name, "lost" for the step that does the damage."""
    text: str
    """"read /counter -> 4"."""
    value: str
    """"4": what is written at the mark itself; "" for nothing."""
    label: str
    """"read 4", "acquire /lock": what stands beside a step that conflicts."""
    role: str = ""
    """"key" for a step that conflicts, "damage" for the one that does the harm, "turn" for one
    whose order matters where none conflict."""
    quiet: bool = False
    """It touches nothing that another process touches: it may be left out."""
    waits: bool = False
    """The process could have been held up before it."""
    failed: bool = False


@dataclass(frozen=True)
class Hold:
    """A process that should have moved and could not."""

    lane: int
    start: int
    """It stood there from before this step on."""
    end: int | None
    """The step with which it went on; None: never."""
    text: str
    """"waits to acquire /lock"."""


@dataclass(frozen=True)
class Picture:
    """A run, ready to be drawn."""

    lanes: tuple[Lane, ...]
    marks: tuple[Mark, ...]
    """One for each step, in order."""
    arrows: tuple[Arrow, ...]
    places: tuple[Place, ...]
    holds: tuple[Hold, ...] = ()


def picture(finding: Finding) -> Picture:
    """What is to be drawn of the run that shows a finding; no lanes if its steps are not known."""
    stuck = finding.processes if finding.kind in (Kind.DEADLOCK, Kind.HANG) else ()
    return draw(
        finding.steps,
        key_steps=finding.key_steps,
        turns=() if finding.key_steps else [event.step for event in steps.turns(finding)],
        named=finding.object,
        processes=finding.processes,
        stuck=stuck,
    )


def draw(
    events: Sequence[Event],
    *,
    key_steps: Sequence[int] = (),
    turns: Sequence[int] = (),
    named: str = "",
    processes: Sequence[str] = (),
    stuck: Sequence[str] = (),
    waits: Sequence[Wait] = (),
) -> Picture:
    """What is to be drawn of any steps.

    Args:
        events: the steps, in order.
        key_steps: numbers of those that conflict, the last of which does the damage.
        turns: where none conflict, numbers of those whose order matters.
        named: the objects concerned, as a finding names them.
        processes: the processes concerned.
        stuck: those of them that wait for what never comes.
        waits: where a fix could not follow its bug.
    """
    roles = dict.fromkeys(turns, "turn") | dict.fromkeys(key_steps, "key")
    roles |= dict.fromkeys(key_steps[-1:], "damage")
    keys = [i for i, event in enumerate(events) if event.step in key_steps]
    concerned = {events[i].process for i in keys} | {*processes}
    drawn = lanes(events, concerned=concerned, stuck=stuck)
    row = {lane.name: index for index, lane in enumerate(drawn)}
    loud = _shared(events) | set(named.split(", "))
    return Picture(
        drawn,
        tuple(
            _mark(event, row[event.process], roles.get(event.step, ""), loud) for event in events
        ),
        tuple(arrows(events, drawn)),
        places(events, keys=keys, damage=keys[-1] if keys else None),
        (*_held_up(events, waits, row), *_held_for_ever(drawn)),
    )


def _held_up(events: Sequence[Event], waits: Sequence[Wait], row: dict[str, int]) -> Iterator[Hold]:
    for wait in waits:
        start = next((i for i, e in enumerate(events) if e.step >= wait.step), len(events))
        own = (i for i, e in enumerate(events) if i >= start and e.process == wait.pending.process)
        if wait.pending.process in row:
            text = f"waits {awaited(wait.pending)}"
            yield Hold(row[wait.pending.process], start, next(own, None), cut(text, _TEXT))


def _held_for_ever(lanes: Sequence[Lane]) -> Iterator[Hold]:
    for index, lane in enumerate(lanes):
        if lane.stuck:
            yield Hold(index, lane.last, None, "waits for ever")


def _mark(event: Event, lane: int, role: str, loud: set[str]) -> Mark:
    failed = event.result is not None and event.result < 0
    lost = role == "damage" and event.action in _CHANGES
    name = short(event.object)
    at = f"+{event.offset}" if event.offset else ""
    text = _births_name(event) or happening(event, f"{name}{at}" if event.object else None)
    thing = "" if event.action in _LIVES else steps.shortened(name, _NAME)
    shown = "" if failed else cut(_value(event), _VALUE)
    return Mark(
        lane,
        "lost" if lost else str(event.action),
        cut(text, _TEXT),
        shown,
        f"{event.action} {shown or thing}".rstrip(),
        role,
        quiet=not role and _is_quiet(event, loud),
        waits=event.waits,
        failed=failed,
    )


def _births_name(event: Event) -> str:
    if event.action is Action.START:
        return "begins"
    if event.action is Action.EXIT:
        return "exits"
    if event.action is Action.DELIVER:
        return f"receives {event.call}"
    if event.action is Action.SIGNAL and event.after:
        return f"sends {signal_name(event)} to {short(event.object)}"
    return ""


def _value(event: Event) -> str:
    match event.action:
        case Action.READ | Action.RECEIVE if event.before:
            return value(event.before, text=through_call(event))
        case Action.WRITE | Action.SEND | Action.UPDATE if event.after:
            return value(event.after, text=through_call(event))
        case Action.SIGNAL if event.after:
            return signal_name(event).removeprefix("SIG")
        case Action.DELIVER:
            return event.call.removeprefix("SIG")
        case _:
            return ""


def _shared(events: Iterable[Event]) -> set[str]:
    """Objects that two processes touch other than by closing them, which every exit does."""
    users: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.action in _TOUCHING and not is_process(event.object):
            users[event.object].add(event.process)
    return {thing for thing, by in users.items() if len(by) > 1}


def _is_quiet(event: Event, loud: set[str]) -> bool:
    if event.action in _LIVES or event.action in (Action.SIGNAL, Action.DELIVER, Action.SLEEP):
        return False
    if event.action is Action.WAIT:
        return event.call == "wait4" and event.result == 0  # a look that found none
    return event.object not in loud and short(event.object) not in loud
