"""One file per kind of finding, each a pure function from a Trace to Findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lab.detect import (
    crash,
    deadlock,
    hang,
    invariant,
    leak,
    lost_update,
    message_loss,
    orphan,
    torn_message,
    zombie,
)
from lab.finding import Finding
from lab.trace import Ending, Trace

Detector = Callable[[Trace], Iterator[Finding]]

DETECTORS: tuple[Detector, ...] = (
    deadlock.detect,
    hang.detect,
    crash.detect,
    invariant.detect,
    lost_update.detect,
    torn_message.detect,
    message_loss.detect,
    zombie.detect,
    orphan.detect,
    leak.detect,
)
"""In the order in which a reader wants them: why the run did not end, what it got wrong, what it
left lying about. The earlier often explains the later."""


def findings(trace: Trace) -> tuple[Finding, ...]:
    """All that is wrong with one run, each thing once.

    A broken sandbox has none: what such a trace shows may be the lab's doing.
    """
    if trace.ending is Ending.BROKEN:
        return ()
    found: dict[tuple[str, str, str], Finding] = {}
    for detect in DETECTORS:
        for finding in detect(trace):
            found.setdefault(finding.identity, finding)
    return tuple(found.values())
