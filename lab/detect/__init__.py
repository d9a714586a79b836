"""One file per kind of finding, each a pure function from a Trace to Findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lab.detect import (
    crash,
    data_race,
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
    lost_update.detect,
    torn_message.detect,
    message_loss.detect,
    crash.detect,
    invariant.detect,
    orphan.detect,
    zombie.detect,
    leak.detect,
)
"""In the order of the kinds that they find."""


def findings(trace: Trace, *, strict_races: bool = False) -> tuple[Finding, ...]:
    """All that is wrong with one run, each thing once.

    A broken sandbox has none: what such a trace shows may be the lab's doing.

    Args:
        trace: the run.
        strict_races: data races are wrong as well; otherwise `races` gives them.
    """
    return _distinct(trace, (*DETECTORS, data_race.detect) if strict_races else DETECTORS)


def races(trace: Trace) -> tuple[Finding, ...]:
    """The data races of one run: worth knowing, and not wrong in themselves."""
    return _distinct(trace, (data_race.detect,))


def _distinct(trace: Trace, detectors: Sequence[Detector]) -> tuple[Finding, ...]:
    if trace.ending is Ending.BROKEN:
        return ()
    found: dict[tuple[str, str, str], Finding] = {}
    for detect in detectors:
        for finding in detect(trace):
            found.setdefault(finding.identity, finding)
    return tuple(found.values())
