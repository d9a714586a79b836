"""Zombie: a child that ended and whose parent did not wait for it.

Its entry in the process table stays until the parent waits or ends, and the table is finite: a
server that forgets one child for each request stops the machine. The exit status is lost too, so
nobody learns that the child failed. The parent is what must be mended; it is named first.

Every child is a zombie for a moment, and in `for p in children: waitpid(p)` the second often
ends first, so that a parent moves on or sleeps proves nothing. What proves it:

- the parent ended later and never waited; or
- the run ended and it had not waited: by itself, in a deadlock or, in a free run, at the time
  limit; or
- in a free run, it did wait, but only after longer than the scenario allows (`zombie_limit`).
  Under control time is virtual, and a duration means nothing: there the order of the steps tells.

Not reported: multiprocessing's helpers and their children, which they reap by rules of their own;
a process that was alive when the lab stopped the run, or that the kernel was still taking down, so
that nobody could have waited for it; an exit that cannot be told to be earlier than the parent's,
for init reaps whoever outlives its parent; and, in a run that the *lab* cut short while it moved
(interrupted, too many processes, a broken sandbox), a child whose parent still lived and might have
waited in time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.detect.wording import by_parent, counted, label, listed, seconds
from lab.finding import Finding, Kind
from lab.trace import Action, Ending, Process, Trace

_HAD_ITS_TIME = frozenset({Ending.COMPLETED, Ending.STUCK, Ending.TIMED_OUT})
_ADVICE = (
    "{} should wait for each child: waitpid, or a SIGCHLD handler that calls waitpid(-1, WNOHANG) "
    "in a loop, as signals merge; or ignore SIGCHLD if no exit status matters."
)


@dataclass(frozen=True)
class _Zombie:
    child: Process
    when: str
    """When it ended."""
    lasted: float
    until: str

    def lasting(self, trace: Trace) -> str:
        """For how long it was one; "" where no clock ran."""
        return "" if trace.mode == "controlled" else seconds(self.lasted)


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding for each parent, naming all of its zombies."""
    zombies = {
        process.name: zombie
        for process in trace.processes
        if (zombie := _zombie(trace, process)) is not None
    }
    families = by_parent(zombie.child for zombie in zombies.values())
    for parent, children in families.items():
        found = [zombies[child.name] for child in children]
        yield Finding(
            Kind.ZOMBIE,
            f"child of {parent}",
            _summary(trace, parent, found),
            processes=(parent, *(child.name for child in children)),
            advice=_ADVICE.format(parent),
            details=tuple(_detail(trace, zombie) for zombie in found) if len(found) > 1 else (),
            key_steps=tuple(_exits(trace, {parent, *(child.name for child in children)})),
        )


def _zombie(trace: Trace, child: Process) -> _Zombie | None:
    parent = next((p for p in trace.processes if p.name == child.awaited_by), None)
    if child.ended is None or child.helper or parent is None or parent.helper:
        return None
    if child.orphaned is not None:
        return None  # init is its parent by then
    since = child.ended if child.zombie is None else child.zombie
    if child.reaped is not None:
        lasted = child.reaped - since
        proven = trace.mode != "controlled" and lasted > trace.zombie_limit
        until = f"{parent.name} waited for it (allowed: {trace.zombie_limit:g} s)"
    elif parent.ended is not None:
        lasted = parent.ended - child.ended
        # Under control no time need pass between two ends; but a child that outlives its parent
        # is known there to be an orphan, and this one is none.
        proven = lasted > 0 or trace.mode == "controlled"
        until = f"{parent.name} ended without having waited for it"
    else:
        lasted = trace.seconds - since
        if trace.mode == "controlled":
            proven = trace.ending in (Ending.COMPLETED, Ending.STUCK)
        else:
            had_its_time = trace.ending in _HAD_ITS_TIME or lasted > trace.zombie_limit
            proven = lasted > 0 and had_its_time
        until = f"the run was {'over' if trace.ending is Ending.COMPLETED else 'stopped'}"
    return _Zombie(child, _when(trace, child), lasted, until) if proven else None


def _when(trace: Trace, child: Process) -> str:
    for step in _exits(trace, {child.name}):
        return f"step {step}"
    return seconds(child.ended or 0.0)


def _exits(trace: Trace, names: set[str]) -> Iterator[int]:
    """The steps of a controlled run at which these processes ended."""
    for event in trace.events:
        if event.action is Action.EXIT and event.object in names:
            yield event.step


def _summary(trace: Trace, parent: str, found: list[_Zombie]) -> str:
    first = found[0]
    lasting = max(found, key=lambda zombie: zombie.lasted).lasting(trace)
    if len(found) == 1:
        return (
            f"{label(trace, first.child.name)}, pid {first.child.pid}, ended at "
            f"{first.when} and was a zombie{lasting and f' for {lasting}'}, until {first.until}. "
            f"{label(trace, parent)}, its parent, should have reaped it."
        )
    return (
        f"{counted(len(found), 'child process')} of {label(trace, parent)} ended and became "
        f"zombies{lasting and f', for up to {lasting}'}: {listed([z.child.name for z in found])}. "
        "Their parent should have reaped them."
    )


def _detail(trace: Trace, zombie: _Zombie) -> str:
    child = zombie.child
    status = "" if child.status is None else f", status {child.status}"
    lasting = zombie.lasting(trace)
    return (
        f"{label(trace, child.name)}, pid {child.pid}{status}: zombie from {zombie.when}"
        f"{lasting and f' for {lasting}'}, until {zombie.until}"
    )
