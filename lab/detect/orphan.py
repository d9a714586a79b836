"""Orphan: a process that lived on after its parent had ended.

Nobody is left to wait for it, to read its exit status or to end it, so it may run on for ever,
and hold locks, ports and files, after everybody believes that the program is over. It is the
parent that must be mended; it is named first, and of it the reader learns when it ended.

The lab cannot tell a daemon from an accident: a process that is meant to outlive its parent is
reported too, and its scenario says so with `may_show`. Not reported: multiprocessing's helpers,
which end by themselves when their pipe closes, and a process that ended before anybody could see
it alive without its parent.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.detect.wording import by_parent, label, listed, seconds
from lab.finding import Finding, Kind
from lab.trace import Process, Trace


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding for each parent that died first, naming all that it left."""
    orphans = by_parent(p for p in trace.processes if p.orphaned is not None and not p.helper)
    for parent, children in orphans.items():
        names = [child.name for child in children]
        shown = label(trace, names[0]) if len(names) == 1 else listed(names)
        its = "Its" if len(names) == 1 else "Their"
        yield Finding(
            Kind.ORPHAN,
            f"child of {parent or 'an unseen process'}",
            f"{shown} lived on without a parent: {label(trace, parent) or 'the parent'} ended "
            f"first. {its} exit can no longer be waited for.",
            processes=(*([parent] if parent else []), *names),
            advice=(
                f"{parent or 'The parent'} should end its children and wait for them before it "
                "ends, on every path; a child can ask for a signal at its parent's death "
                "(prctl PR_SET_PDEATHSIG)."
            ),
            details=tuple(_detail(trace, child) for child in children),
        )


def _detail(trace: Trace, child: Process) -> str:
    since = child.orphaned or 0.0
    until = trace.seconds if child.ended is None else child.ended
    end = "when the run ended it still ran" if child.ended is None else "then it ended"
    return (
        f"{label(trace, child.name)}, pid {child.pid}: alone from {seconds(since)} for "
        f"{seconds(max(0.0, until - since))}; {end}"
    )
