"""Shrink what a search has found, by running the program again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from lab.essence import Essence
from lab.finding import Shrinkage
from lab.search.schedule import Choose, Recorder
from lab.search.shrink import Path, Spent, shrink
from lab.trace import Ending

if TYPE_CHECKING:
    from lab.loop import Runner
    from lab.telling import Identity, Teller


def shrink_told(
    runner: Runner,
    teller: Teller,
    *,
    most: int,
    max_steps: int,
    report: Callable[[Essence], None],
) -> None:
    """Look for simpler runs that show what was told, and let the teller tell it by these.

    They say nothing about how often something happens, so they are not reported; unless one shows
    what no run did before: that is a fact, however it came to be known, and it is shrunk as well.

    Two bounds keep this from taking longer than the search: runs, which the user sets, and steps,
    which are what runs cost. A bound of seconds would give each machine an answer of its own.

    Args:
        runner: of the program.
        teller: has told the findings.
        most: runs that may be made for each.
        max_steps: the bound that the runs of the search had.
        report: is given a run that shows something new.
    """
    done: dict[Identity, Shrinkage] = {}
    while left := [identity for identity in teller.told if identity not in done]:
        identity = left[0]
        found = teller.told[identity]
        # The default order lets a process spin for ever that the other schedule had interrupted.
        bound = min(max_steps, 2 * len(found.events) + 100)
        attempt = _Attempt(runner, teller, identity, bound, max_steps, report, _MOST_STEPS)
        what = shrink(found.path, attempt, most=most)
        done[identity] = Shrinkage(
            len(found.schedule.deviations), 0, 0, what.runs, complete=what.complete
        )
    # Only now, since what one is shrunk to may show another still more simply.
    for identity, shrinkage in done.items():
        telling = teller.told[identity]
        after = telling.schedule
        shrunk = dataclasses.replace(
            shrinkage, after=len(after.deviations), preemptions=after.preemptions
        )
        teller.told[identity] = dataclasses.replace(telling, shrunk=shrunk)


_MOST_STEPS = 20_000
"""Steps in all the further runs for one finding: a hundred of the usual length, ten seconds."""


@dataclasses.dataclass
class _Attempt:
    """One more run: is it still there?"""

    runner: Runner
    teller: Teller
    identity: Identity
    bound: int
    max_steps: int
    report: Callable[[Essence], None]
    steps_left: int

    def __call__(self, choose: Choose) -> Path | None:
        if self.steps_left <= 0:
            raise Spent
        recorder = Recorder(choose)
        trace = self.runner.run(recorder, max_steps=self.bound)
        self.steps_left -= len(trace.events)
        if trace.ending is Ending.ENDLESS and self.bound < self.max_steps:
            return None  # what it would have come to is not known
        known = set(self.teller.told)
        run = self.teller.tell(trace, recorder)
        if not known.issuperset(each.identity for each in run.findings):
            self.report(run)
        for finding in run.findings:
            if finding.identity == self.identity:
                order = (each.process for each in recorder.operations(len(trace.events)))
                damage = finding.key_steps[-1] if finding.key_steps else len(trace.events)
                return Path(recorder.schedule, tuple(order), damage)
        return None
