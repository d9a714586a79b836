"""How findings speak of processes and their families, of numbers, of texts that may be long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.trace import Blocked, Failure, Process, Trace

_COMMAND = 48
_TEXT = 72
_ITEMS = 8


def label(trace: Trace, name: str) -> str:
    """A process by its logical name and command: "P1 (sh -c true)".

    A mere fork of the root runs the root's own command, and to repeat that tells nobody apart.
    The root itself, where the program is a function, has the command line of the lab or of pytest.
    """
    command = next((process.command for process in trace.processes if process.name == name), "")
    root = trace.root
    is_command = root.command.endswith(trace.scenario)  # "sh" may stand before a script's name
    if command == root.command and (name != root.name or not is_command):
        command = ""
    return f"{name} ({cut(command, _COMMAND)})" if command else name


def labels(trace: Trace, names: Iterable[str]) -> str:
    """Several processes, as one part of a sentence."""
    return listed([label(trace, name) for name in names])


def sleep(trace: Trace, blocked: Blocked) -> str:
    """Who sleeps, where, since when and for what."""
    where = f"{blocked.call} on {blocked.object}" if blocked.object else blocked.call
    event = f", waits for {blocked.waits_for}" if blocked.waits_for else ""
    return f"{label(trace, blocked.process)}: in {where} {_since(trace, blocked)}{event}"


def _since(trace: Trace, blocked: Blocked) -> str:
    """When it fell asleep. Under control that is after a step; a virtual time tells nothing."""
    line = f" ({blocked.where})" if blocked.where else ""
    if trace.mode != "controlled":
        return f"since {seconds(blocked.since)}{line}"
    own = [event.step for event in trace.events if event.process == blocked.process]
    return f"since step {own[-1]}{line}" if own else f"since its start{line}"


def listed(items: Sequence[str]) -> str:
    """One or more items as a sentence lists them: "a, b and c"; of many only the first few."""
    if len(items) > _ITEMS:
        items = [*items[: _ITEMS - 1], f"{len(items) - _ITEMS + 1} others"]
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 message", "2 messages", "0 processes"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def seconds(duration: float) -> str:
    """A duration, as precise as polling can be."""
    return f"{duration:.2f} s"


def quoted(text: str) -> str:
    """A text of the program, on one line and not too long."""
    return repr(cut(text, _TEXT))


def cut(text: str, width: int) -> str:
    """At most `width` characters, with dots where something is missing."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def traceback_lines(failure: Failure) -> tuple[str, ...]:
    """The lines of a traceback, without the marks that point into a line: a report wraps that."""
    return tuple(line for line in failure.traceback.splitlines() if line.strip(" ^~"))


def born(trace: Trace, names: Iterable[str]) -> tuple[str, ...]:
    """The names in order of birth, the order in which a reader knows the processes."""
    order = {process.name: rank for rank, process in enumerate(trace.processes)}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


def by_parent(processes: Iterable[Process]) -> dict[str, list[Process]]:
    """The processes grouped by the logical name of who was to wait for them."""
    families: dict[str, list[Process]] = {}
    for process in processes:
        families.setdefault(process.awaited_by, []).append(process)
    return families
