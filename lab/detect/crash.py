"""Crash: a process ended in a way that nobody intended.

For the root that is an exception that left the body, an exit status other than 0, or a signal:
the root is the program, and that is how a program says that it failed.

For a child it is only a signal that the kernel sends for the process's own fault, or abort().
Not reported: a child's exit status, which is an answer to its parent, who may well expect it; a
child ended by SIGTERM, SIGKILL, SIGINT or SIGPIPE, by which programs end their children on
purpose; a failed assertion (`invariant`); and what the lab did to end the run, or the user.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

from lab.detect.wording import by_parent, label, labels, traceback_lines
from lab.finding import Finding, Kind
from lab.trace import Ending, Failure, Process, Trace

_OWN_FAULT = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
_ENDED_BY_LAB = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT})


def detect(trace: Trace) -> Iterator[Finding]:
    """The body's exception or the root's status, then one finding for each signal of children."""
    failure = trace.failure
    if failure and not failure.is_assertion and not _interrupted(trace, failure):
        yield Finding(
            Kind.CRASH,
            failure.where or trace.root.name,
            f"{failure.type} left the body: {failure.message or 'without a message'}"
            f"{f' ({failure.where})' if failure.where else ''}.",
            subject=failure.type,
            processes=(trace.root.name,),
            advice="Read the traceback in the details; what the program printed is in its output.",
            details=traceback_lines(failure),
        )
    elif _root_crashed(trace):
        how = _how(trace.root.status or 0)
        yield Finding(
            Kind.CRASH,
            trace.root.name,
            f"The root process {label(trace, trace.root.name)} ended with {how}.",
            subject=how,
            processes=(trace.root.name,),
            advice="A status other than 0 says that it failed; what it printed may say why.",
        )
    for (how, parent), children in _crashed_children(trace).items():
        names = [child.name for child in children]
        yield Finding(
            Kind.CRASH,
            f"child of {parent}",
            f"{labels(trace, names)} ended with {how}.",
            subject=how,
            processes=(*names, *([parent] if parent else [])),
            advice="Run it by itself under a debugger, or with PYTHONFAULTHANDLER=1.",
        )


def _interrupted(trace: Trace, failure: Failure) -> bool:
    return trace.ending is Ending.INTERRUPTED and failure.type == "KeyboardInterrupt"


def _root_crashed(trace: Trace) -> bool:
    status = trace.root.status or 0
    if trace.ending is not Ending.COMPLETED and -status in _ENDED_BY_LAB:
        return False
    # An exception has told already why the status is not 0.
    return status < 0 or (status > 0 and trace.failure is None)


def _crashed_children(trace: Trace) -> dict[tuple[str, str], list[Process]]:
    crashed = [p for p in trace.processes[1:] if -(p.status or 0) in _OWN_FAULT and not p.helper]
    return {
        (how, parent): children
        for how in dict.fromkeys(_how(p.status or 0) for p in crashed)
        for parent, children in by_parent(p for p in crashed if _how(p.status or 0) == how).items()
    }


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal between the first and the last has no name
        return f"signal {-status}"
