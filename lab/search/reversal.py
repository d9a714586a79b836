"""Reversal: the races of a run, and how another run begins in which one comes out the other way.

A step races with an earlier one of another task if it depends on that, if nothing else made it come
later, and if it could have gone through at that moment. The run that begins like this one, leaves
out the earlier step and all that came after it, and takes the later one instead, is another trace.

An acquire does not race with the release that made it possible: before, nobody could have acquired.
It races with the *acquire* before that release, whose holder might have come second. So from each
step the search goes back over those that it depends on, past all that it could not have preceded,
to the latest that it could. Before any earlier one it comes in the runs that follow from that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.search.availability import Answer, Availability
from lab.search.course import Course, Wanted
from lab.search.happens_before import Steps, members
from lab.search.wakeup import Beginning, beginning_of
from lab.trace import Event

_FOUND_BY_TRYING = ("lock:", "sysv-mq:")
"""What tasks are taken to be able to have until they are refused."""


@dataclass
class Reversals:
    """The reversals of a run's races.

    Args:
        course: the run.
        availability: what is known of the things that tasks wait for.
    """

    course: Course
    availability: Availability

    def __post_init__(self) -> None:
        self._after: dict[int, Steps] = {}
        self.availability.learn((choice.point, choice.events) for choice in self.course.choices)

    def __iter__(self) -> Iterator[tuple[int, Beginning]]:
        """For each: from which choice on the other run is another, and how it goes on there."""
        for wanted in self.course.wanted():
            yield from self._of(wanted)

    def _of(self, wanted: Wanted) -> Iterator[tuple[int, Beginning]]:
        order = self.course.order
        everything = (1 << len(order)) - 1
        open_, settled = wanted.meets & ~wanted.certain, 0
        while open_:
            index = open_.bit_length() - 1
            open_ ^= 1 << index
            if settled >> index & 1:
                continue
            kept = everything >> index << index & ~self._from(index)
            answer = self._answer(wanted, index, kept)
            if answer is not Answer.NO:
                yield index, self._beginning(wanted, index, kept)
            if answer is Answer.YES:
                settled |= order.past[index]
            elif disturbing := self._disturbing(wanted, kept):
                # Another may have taken what it waits for, or have closed it.
                yield index, self._beginning(wanted, index, kept & ~disturbing)

    def _from(self, index: int) -> Steps:
        if index not in self._after:
            self._after[index] = self.course.order.after(index)
        return self._after[index]

    def _disturbing(self, wanted: Wanted, kept: Steps) -> Steps:
        """Steps that a waiting one may do better without: it need not come after them."""
        disturbing = 0
        for index in members(kept & wanted.meets & ~wanted.certain):
            disturbing |= self._from(index)
        return disturbing & kept

    def _answer(self, wanted: Wanted, index: int, kept: Steps) -> Answer:
        """Whether a step could go through instead of another, after the steps that are kept."""
        if wanted.waited:  # for a change, and that was it
            return Answer.NO
        if wanted.footprint.joins:
            return Answer.YES if wanted.taken else Answer.NO
        choice, operation = self.course.choices[index], wanted.operation
        if wanted.arrived <= index and not kept & wanted.meets:
            if any(blocked.process == operation.process for blocked in choice.point.blocked):
                return Answer.NO
            enabled = any(each.process == operation.process for each in choice.point.enabled)
            if enabled and not operation.object.startswith(_FOUND_BY_TRYING):
                return Answer.YES
        things = {operation.object, *operation.object.split()}
        known = kept | (1 << index) - 1
        instead = next((event for event in choice.events if event.object in things), None)
        return self.availability.of(
            operation, instead, self._on(things, known), self._on(things, ~known)
        )

    def _on(self, things: set[str], among: Steps) -> list[Event]:
        """What some steps did with some things."""
        return [
            event
            for index, choice in enumerate(self.course.choices)
            if among >> index & 1
            for event in choice.events
            if event.object in things or not things.isdisjoint(event.also)
        ]

    def _beginning(self, wanted: Wanted, index: int, kept: Steps) -> Beginning:
        order = self.course.order
        known = kept | (1 << index) - 1
        return beginning_of(
            [*order.tasks, wanted.operation.process],
            [*order.footprints, wanted.footprint],
            [*order.past, wanted.certain | order.closed(wanted.meets & known)],
            kept | 1 << len(order),
        )
