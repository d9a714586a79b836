"""One run, reduced to what the answer about the program depends on.

A search makes thousands of runs, each with a trace of hundreds of steps. What is wrong with one
can be told when it is over; after that only a few lines of it matter, unless something was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.detect import findings, races
from lab.detect.interplay import Interplay, interplay
from lab.detect.spinning import spinning
from lab.detect.traffic import compare
from lab.detect.wording import counted, listed
from lab.finding import Finding
from lab.trace import Ending, Messages, Tally, Trace

_OUTPUT = 4000
"""Characters of a program's output that are kept: its end, where errors are."""


@dataclass(frozen=True)
class Essence:
    """What is left of one run when it is over."""

    mode: str
    isolation: str
    completed: bool
    findings: tuple[Finding, ...]
    races: tuple[Finding, ...]
    """Data races, where they are not among the findings."""
    undecided: str
    """Why it could not be judged; "" if it could."""
    tests_something: bool
    shares_objects: bool
    """More than lives and deaths; always so in a free run, where that is not known."""
    outcome: tuple[str, bool]
    """What came out, and whether it may."""
    has_result: bool
    """The body returned something."""
    notes: tuple[str, ...]
    unvaried: tuple[str, ...]
    """What keeps it from being part of a proof, see `Trace`."""
    output: str
    """What it printed, if anything was wrong with it."""


def essence(trace: Trace, *, strict_races: bool = False) -> Essence:
    """Judge one run.

    Args:
        trace: the run.
        strict_races: a data race is a finding, and not just worth a note.
    """
    found = findings(trace, strict_races=strict_races)
    undecided = _undecided(trace)
    completed = trace.ending is Ending.COMPLETED
    shared = interplay(trace.events)
    return Essence(
        trace.mode,
        trace.isolation,
        completed,
        found,
        () if strict_races else races(trace),
        undecided,
        _tests_something(trace, shared),
        shared is Interplay.OBJECTS or trace.mode != "controlled",
        _outcome(trace, found),
        trace.tally is not None,
        tuple(_notes(trace)),
        trace.unvaried,
        _cut(trace.output) if found or not completed else "",
    )


def _undecided(trace: Trace) -> str:
    """Why a run could not be judged."""
    match trace.ending:
        case Ending.OVERRUN:
            return (
                f"had more than {trace.process_limit} processes at once and was ended; bound "
                "the forking, or allow more processes"
            )
        case Ending.INTERRUPTED:
            return "was interrupted; run it again to know"
        case Ending.ENDLESS:
            return (
                f"was ended after {len(trace.events)} steps: {spinning(trace.events)}; let it wait "
                "in a call that blocks, or allow more with --max-steps"
            )
        case Ending.TIMED_OUT if trace.mode == "controlled":
            # Who is blocked is known exactly there, so whoever is late still computes.
            return (
                f"was ended after {trace.time_limit:g} s, in which it took "
                f"{counted(len(trace.events), 'step')}: {_last_moved(trace)}; give it less to do, "
                "or a longer limit with --time-limit"
            )
        case Ending.BROKEN:
            return f"could not be judged: {trace.trouble or 'the sandbox failed'}"
        case Ending.COMPLETED if trace.doubts:
            return f"may have left something: {'; '.join(trace.doubts)}"
        case _:
            return ""


def _last_moved(trace: Trace) -> str:
    if not trace.events:
        return f"{trace.root.name} computes and has not come to its first"
    return f"{trace.events[-1].process} took the last and computes since"


def _tests_something(trace: Trace, shared: Interplay) -> bool:
    if trace.mode == "controlled":
        return shared is not Interplay.NONE
    helpers = sum(process.helper for process in trace.processes)
    started = max(trace.processes_started, len(trace.processes)) - helpers
    return started > 1 or bool(trace.objects) or trace.tally is not None


def _notes(trace: Trace) -> Iterator[str]:
    yield from trace.notes
    if trace.ending in (Ending.COMPLETED, Ending.BROKEN):
        return
    left = [f"{thing.type} {thing.name}" for thing in trace.objects if thing.left]
    if left:
        yield (
            f"not counted as leaked, since the run was stopped before it could clean up: "
            f"{listed(left)}"
        )


def _outcome(trace: Trace, in_run: tuple[Finding, ...]) -> tuple[str, bool]:
    match trace.tally:
        case Tally(expected, actual, what):
            return f"{actual} of {expected} {what}", actual == expected
        case Messages(sent) as messages:
            traffic = compare(messages)
            faults = {
                "lost": traffic.lost,
                "torn": traffic.torn,
                "too many": [item for item in traffic.extra if item in sent],
                "never sent": [item for item in traffic.extra if item not in sent],
            }
            named = [f"{len(items)} {fault}" for fault, items in faults.items() if items]
            return ", ".join([counted(len(sent), "message"), *named]), not named
        case None:
            why = trace.failure.type if trace.failure else trace.ending
            return f"no result: {why}", not in_run


def _cut(output: str) -> str:
    if len(output) <= _OUTPUT:
        return output
    cut = len(output) - _OUTPUT
    return f"[{cut} of {len(output)} characters are cut here]\n{output[cut:]}"
