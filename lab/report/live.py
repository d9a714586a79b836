"""A look at running processes as text: who stands where, what they share, and why nothing moves.

It is drawn again and again in one place, so it must fit on a screen: what does not is left out,
with its count, and what is wrong comes first of what may be left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.detect.standstill import standstill
from lab.detect.wording import counted, listed
from lab.look import Look, Thing
from lab.report.style import PLAIN, WIDTH, Style, columns, cut, printable, wrapped
from lab.trace import Blocked, Process

_NAME = 12
_PID = 8
_FOR = 8
_KIND = 14
_OBJECT = 24
_FEW = 4
"""How many processes are named with a thing."""


def render(look: Look, style: Style = PLAIN, *, width: int = WIDTH, height: int = 0) -> str:
    """The look as lines of at most `width` columns, without a newline at its end.

    Args:
        look: what was seen.
        style: what the stream can show.
        width: columns.
        height: lines at most; 0: as many as it takes.
    """
    top = [_title(look, style, width), *_alarms(look, style, width), ""]
    processes = list(_processes(look, style, width))
    things = list(_things(look, style, width))
    notes = [style.paint(line, "dim") for note in look.notes for line in _lines(note, width)]
    room = height - len(top) - len(notes) - 2 if height else len(processes) + len(things)
    share = max(room - min(len(things), room // 3), 1)
    shown = [*_at_most(processes, share), ""] if processes else []
    if things:
        shown += [*_at_most(things, max(room - min(len(processes), share), 1)), ""]
    return "\n".join([*top, *shown, *notes]).rstrip("\n")


def _lines(text: str, width: int) -> list[str]:
    return wrapped(text, width=width).splitlines()


def _at_most(lines: list[str], most: int) -> list[str]:
    if len(lines) <= most:
        return lines
    kept = max(most - 1, 0)
    return [*lines[:kept], f"  ... {counted(len(lines) - kept, 'more line')}, not shown"]


def _title(look: Look, style: Style, width: int) -> str:
    time = f"{look.trace.seconds:.1f} s"
    name = cut(f"watching {look.trace.scenario}", width - len(time) - 2)
    return style.paint(name + " " * (width - columns(name) - len(time)) + time, "bold")


def _alarms(look: Look, style: Style, width: int) -> Iterator[str]:
    """What is wrong at this moment, or how things stand."""
    alive = [process for process in look.trace.processes if process.ended is None]
    found = standstill(look.trace)
    for knot in found.knots:
        names = listed([blocked.process for blocked in knot.causes])
        yield from _alarm(
            f"DEADLOCK: {names} each wait for what only another of them could bring",
            style,
            width,
        )
    for stall in found.stalls:
        names = listed([blocked.process for blocked in stall.causes])
        verb = "wait" if len(stall.causes) > 1 else "waits"
        yield from _alarm(
            f"HANG: {names} {verb} for {_event(stall.causes[0])}, and nobody else here moves",
            style,
            width,
        )
    zombies = [p.name for p in look.trace.processes if _is_neglected(p, look)]
    if zombies:
        parents = {process.parent for process in look.trace.processes if process.name in zombies}
        verb = "has" if len(parents) == 1 else "have"
        yield from _alarm(
            f"ZOMBIE: {listed(zombies)}; {listed(sorted(parents))} {verb} not waited",
            style,
            width,
        )
    if orphans := [process.name for process in alive if process.orphaned is not None]:
        yield from _alarm(f"ORPHAN: {listed(orphans)}; the parent has ended", style, width)
    if look.unmoved is not None and look.unmoved >= 1 and not found.knots and not found.stalls:
        yield from _lines(
            f"{style.unknown} nobody has moved for {_seconds(look.unmoved)}; a time limit, a "
            "signal or somebody outside could wake them",
            width,
        )
    if not alive:
        yield f"  {_how(look.trace.root)}; nobody is left"


def _alarm(text: str, style: Style, width: int) -> Iterator[str]:
    for line in _lines(f"{style.bad} {text}", width):
        yield style.paint(line, "red")


def _is_zombie(process: Process, look: Look) -> bool:
    """Whether it takes a place in the process table: not any more when its parent is gone too."""
    return (
        process.ended is not None
        and process.reaped is None
        and process.zombie is not None
        and bool(process.parent)
        and look.trace.process(process.parent).ended is None
    )


def _is_neglected(process: Process, look: Look) -> bool:
    """A zombie for longer than its parent may need."""
    lasting = look.trace.seconds - (process.zombie or 0.0)
    return _is_zombie(process, look) and lasting > look.trace.zombie_limit


def _processes(look: Look, style: Style, width: int) -> Iterator[str]:
    states, lines = dict(look.states), dict(look.lines)
    waits = {blocked.process: blocked for blocked in look.trace.blocked}
    left = max(width - 2 - _NAME - _PID - _FOR, 20)
    for process, depth in _tree(look):
        wait = waits.get(process.name)
        zombie = _is_zombie(process, look)
        since = wait.since if wait else process.zombie if zombie else None
        text = _told_zombie(process, style) if zombie else _doing(process, wait, states)
        first, *more = _broken(text, left)
        name = cut("  " * min(depth, 4) + process.name, _NAME - 1).ljust(_NAME)
        lasting = _seconds(look.trace.seconds - since) if since is not None else ""
        head = f"  {name}{process.pid:<{_PID}}{lasting:<{_FOR}}"
        looks = ("red",) if _is_zombie(process, look) else ()
        yield head + style.paint(first, *looks)
        where = [f"at {lines[process.name]}"] if process.name in lines else []
        command = [process.command] if _is_new(process, look) else []
        for line in (*more, *(cut(part, left) for part in (*where, *command))):
            yield " " * (2 + _NAME + _PID + _FOR) + style.paint(line, "dim")


def _broken(text: str, width: int) -> list[str]:
    return wrapped(text, indent="", width=width).splitlines() or [""]


def _is_new(process: Process, look: Look) -> bool:
    """Whether its command tells anything: a mere fork has its parent's."""
    if not process.parent:
        return process.command != look.trace.scenario
    return process.command != look.trace.process(process.parent).command


def _tree(look: Look) -> Iterator[tuple[Process, int]]:
    """Who is there, each below its parent; the orphans of the dead at the edge."""
    there = [
        p for p in look.trace.processes if (p.ended is None or _is_zombie(p, look)) and not p.helper
    ]
    names = {process.name for process in there}

    def below(parent: str, depth: int) -> Iterator[tuple[Process, int]]:
        for process in there:
            if process.parent == parent:
                yield process, depth
                yield from below(process.name, depth + 1)

    for process in there:
        if process.parent not in names:
            yield process, 0
            yield from below(process.name, 1)


def _how(root: Process) -> str:
    if root.status is None:
        return f"{root.name} has ended"
    if root.status < 0:
        return f"{root.name} was ended by signal {-root.status}"
    return f"{root.name} has ended with status {root.status}"


def _told_zombie(process: Process, style: Style) -> str:
    status = process.status or 0
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return f"{style.bad} zombie: ended with {how}, and {process.parent} has not waited"


def _doing(process: Process, wait: Blocked | None, states: dict[str, str]) -> str:
    orphan = "orphan, " if process.orphaned is not None else ""
    if wait is None:
        return orphan + states.get(process.name, "")
    if wait.call == "stopped":
        return f"{orphan}stopped, until SIGCONT"
    thing = f" on {wait.object}" if wait.object else ""
    event = f", waits for {wait.waits_for}" if wait.waits_for else ""
    return f"{orphan}in {wait.call}{thing}{event}"


def _event(blocked: Blocked) -> str:
    event = blocked.waits_for or "something"
    return f"{event} ({blocked.call} on {blocked.object})" if blocked.object else event


def _things(look: Look, style: Style, width: int) -> Iterator[str]:
    waiting: dict[str, list[str]] = {}
    for blocked in look.trace.blocked:
        waiting.setdefault(blocked.object, []).append(blocked.process)
    rows = [(thing, waiting.get(thing.name, [])) for thing in look.things]
    rows.sort(key=lambda row: not row[1])  # what somebody waits for comes first
    idle = [thing for thing, sleepers in rows if thing.empty and not sleepers]
    for thing, sleepers in rows:
        if thing not in idle:
            yield _row(thing, sleepers, style, width)
    if idle:
        also = f"  and {counted(len(idle), 'thing')} empty that nobody waits for (pipes, sockets)"
        yield style.paint(cut(also, width), "dim")


def _row(thing: Thing, sleepers: list[str], style: Style, width: int) -> str:
    name = _end_of(thing.name)
    head = f"  {thing.kind:<{_KIND}}{name}{' ' * (_OBJECT - columns(name))} "
    verb = "wait" if len(sleepers) > 1 else "waits"
    awaited = f"{style.arrow} {_few(sleepers)} {verb}; " if sleepers else ""
    return cut(f"{head}{thing.fill or '?'}; {awaited}{_users(thing)}", width)


def _end_of(name: str) -> str:
    """A long path differs from others at its end."""
    name = printable(name)
    if columns(name) <= _OBJECT:
        return name
    while columns(name) > _OBJECT - 3:
        name = name[1:]
    return f"...{name}"


def _users(thing: Thing) -> str:
    if not thing.flows:
        return _few(thing.users)
    return f"{_few(thing.writers) or 'nobody'} > {_few(thing.readers) or 'nobody'}"


def _few(names: Sequence[str]) -> str:
    more = len(names) - _FEW
    return " ".join(names[:_FEW]) + (f" +{more}" if more > 0 else "")


def _seconds(duration: float) -> str:
    if duration < 60:  # noqa: PLR2004
        return f"{duration:.1f} s"
    return f"{duration / 60:.0f} min"
