"""Which process a run without end is to be blamed on, and what it does over and over.

Under control a loop that waits for somebody ("while not flag: pass") takes a step in each round,
and a schedule that never lets the other one move takes no other. That says nothing about the
program's other schedules, so it is no finding; but whoever reads of it wants to know where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lab.operation import happening
from lab.trace import Event

_LATELY = 1000
_TOLD = 3


def spinning(events: Sequence[Event]) -> str:
    """Who took most of the last steps, and the different ones among them; "" without events."""
    lately = events[-_LATELY:]
    if not lately:
        return ""
    ((process, steps),) = Counter(event.process for event in lately).most_common(1)
    own = [event for event in lately if event.process == process]
    told = list(dict.fromkeys(_told(event) for event in reversed(own)))
    cycle = ", ".join(reversed(told[:_TOLD]))
    more = f" and {len(told) - _TOLD} other steps" if len(told) > _TOLD else ""
    return f"{process} took {steps} of the last {len(lately)} steps, again and again {cycle}{more}"


def _told(event: Event) -> str:
    return happening(event) + (f" ({event.where})" if event.where else "")
