"""Replay: follow a schedule, and notice the first step at which the program does not.

A replay that goes astray shows a run that nobody recorded. Whatever comes out of it is no answer
about the recorded one, so it ends at once, and says at which step and what was there instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from lab.operation import PRINTED, happening, operation
from lab.search.schedule import Schedule
from lab.search.strategy import Pending, Point
from lab.trace import Action, Event

if TYPE_CHECKING:
    from lab.trace import Trace

_NOT_COMPARED = frozenset({Action.FORK, Action.WAIT})
"""Calls that return a PID. The child's logical name is in the event; its number is drawn anew
wherever the run has no PID namespace."""
_END = "the end of the run"


class Diverged(Exception):  # noqa: N818  # what happened, and a replay that did is no error yet
    """The program did something else than it did when the schedule was recorded."""

    def __init__(self, step: int, recorded: str, found: str) -> None:
        super().__init__(
            f"the replay went another way at step {step}: recorded was {recorded}; "
            f"now there is {found}"
        )
        self.step = step
        self.recorded = recorded
        self.found = found

    def __reduce__(self) -> tuple[type[Diverged], tuple[object, ...]]:
        # It travels from the tracer to the lab, and an exception is rebuilt from its text.
        return (Diverged, (self.step, self.recorded, self.found))


class Unlike(Diverged):
    """The same choices led to another run, and it is not known at which step they parted."""

    def __init__(self, steps: int) -> None:
        Exception.__init__(
            self,
            f"the replay made the recorded choices, and yet it was another run: in one of its "
            f"{steps} steps, an object or a value is not the recorded one",
        )
        self.step, self.recorded, self.found = steps, "", ""

    def __reduce__(self) -> tuple[type[Diverged], tuple[object, ...]]:
        return (Unlike, (self.step,))


class Replay:
    """One run along a schedule.

    Args:
        schedule: where to leave the default order.
        recorded: what was chosen, in order, when the schedule was recorded, as far as that is
            known. With it the first other operation is noticed; without it only a step at which
            the schedule names a task that cannot move.
    """

    def __init__(self, schedule: Schedule, recorded: Sequence[Pending | Action] = ()) -> None:
        self._deviations = dict(schedule.deviations)
        self._recorded = recorded
        self._compared = 0
        self._chosen: tuple[int, Pending] | None = None
        self._begun = False

    def begin(self) -> bool:
        """Ready once."""
        self._begun, before = True, self._begun
        return not before

    def choose(self, point: Point) -> int:
        """Who moved at this step when it was recorded.

        Raises Diverged.
        """
        self._check(point.step)
        index = self._followed(point)
        self._chosen = (point.step, point.enabled[index])
        return index

    def end(self, trace: Trace) -> None:
        """Check that the run ended where the recorded one did.

        Raises Diverged.
        """
        self._check(len(trace.events))
        if self._compared < len(self._recorded):
            raise Diverged(len(trace.events), _named(self._recorded[self._compared]), _END)

    def _followed(self, point: Point) -> int:
        process = self._deviations.get(point.step)
        if process is None:
            return point.default
        for index, pending in enumerate(point.enabled):
            if pending.process == process:
                return index
        known = self._recorded[self._compared : self._compared + 1]
        recorded = f"a step of {process}{', ' if known else ''}{''.join(map(_named, known))}"
        choice = " or ".join(operation(pending) for pending in point.enabled)
        raise Diverged(point.step, recorded, f"a choice of {choice}")

    def _check(self, step: int) -> None:
        """Hold the last choice against the recorded one, once it is known to have been a step.

        A task that turns out to be blocked is chosen and taken back, so a choice is a step only
        when the next point has a later one.
        """
        if self._chosen is None or self._chosen[0] >= step or not self._recorded:
            return
        before, found = self._chosen
        self._chosen = None
        if self._compared == len(self._recorded):
            raise Diverged(before, _END, operation(found))
        recorded = self._recorded[self._compared]
        self._compared += 1
        if recorded != (found.action if isinstance(recorded, Action) else found):
            raise Diverged(before, _named(recorded), operation(found))


def compare(recorded: Sequence[Event], found: Sequence[Event]) -> None:
    """Hold a whole run against the recorded one, with the values it read and wrote.

    Raises Diverged at the first step that differs.
    """
    for one, other in zip_longest(recorded, found):
        if one is None or other is None or sameness(one) != sameness(other):
            step = one.step if one is not None else other.step
            raise Diverged(step, _told(one), _told(other))


def named_by(events: Sequence[Event], diverged: Diverged) -> Diverged:
    """The divergence with the recorded step in full, where the recorded steps are at hand."""
    if not diverged.recorded or diverged.step >= len(events):
        return diverged
    return Diverged(diverged.step, _told(events[diverged.step]), diverged.found)


def sameness(event: Event) -> tuple[object, ...]:
    """What must be equal for a step to count as the same one: not the time, the line, the number.

    The line is recorded on some runs only, and the time follows from the rest. Of what a call
    returned only its error counts: a success may be a number that the kernel draws anew, such as
    a PID or the identifier of a System V object, and what it stands for is named in the event.

    That something was printed counts, and not what: nobody in the run can read it, and a traceback
    names the folder of the checkout. Nor does it count where TMPDIR leads.
    """
    text = () if event.object == PRINTED else (event.offset, event.size, event.before, event.after)
    return (
        event.process,
        event.action.value,
        event.call,
        _anywhere(event.object),
        *text,
        min(event.result or 0, 0),
        tuple(map(_anywhere, event.also)),
    )


def _anywhere(name: str) -> str:
    """A name without the difference between a TMPDIR that somebody set and the usual one."""
    return name.replace(":$TMPDIR/", ":/tmp/")


def _told(event: Event | None) -> str:
    return f"{event.process} {happening(event)}" if event is not None else _END


def _named(recorded: Pending | Action) -> str:
    if isinstance(recorded, Action):
        return f"{'an' if recorded[0] in 'aeiou' else 'a'} {recorded}"
    return operation(recorded)
