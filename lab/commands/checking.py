"""Check scenarios: run each freely, as its users run it, and then under control.

There a bug must show all that it declares: by its saved schedules, which are run first and do not
depend on luck, or within so many others. A fix must hold for as many as are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.catalogue import saved_schedules
from lab.check import Checked, Judged, Knows, judge
from lab.commands.output import UsageError
from lab.commands.running import Plan, observed
from lab.corpus import FOLDER, BadFile, Corpus
from lab.loop import Plan as SearchPlan
from lab.run.limits import Isolation
from lab.search.named import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.finding import Result
    from lab.scenario import Scenario


@dataclass(frozen=True)
class Effort:
    """How much is done for each scenario."""

    runs: int = 3
    """Free ones; fewer of a bug that has shown itself."""
    isolation: Isolation = Isolation.AUTO
    """Of the free ones."""
    controlled: bool = True
    """False: free runs only."""
    replayed: bool = True
    """Saved schedules come first; False: what is asked is how well a search does without."""
    bug: int = 200
    """Schedules within which a bug must have shown all that it declares."""
    fix: int = 50
    seeds: int = 1
    """A bug must show itself with each of so many."""
    jobs: int = 1
    """Controlled runs at once; the answer is the same."""


def checked(
    scenario: Scenario,
    effort: Effort,
    progress: Callable[[str], None] = lambda _: None,
    knows: Knows = lambda *_: False,
) -> Iterator[Checked]:
    """Run a scenario, compare what that shows with what it declares, and give the one answer.

    Interrupted by Ctrl-C it still gives what is known by then, if anything is; the
    KeyboardInterrupt follows when the consumer asks for more.

    Raises LabError if the machine cannot run it as asked, UsageError for a file that holds no
    schedule.
    """
    judged: list[Judged] = []
    free = Plan(runs=effort.runs, isolation=effort.isolation, until_shown=True)
    seeds = effort.seeds if scenario.expects else 1
    try:
        judged.extend(
            judge(scenario, result, knows) for result in observed(scenario, free, progress)
        )
        for seed in range(seeds if effort.controlled else 0):
            found = _explored(scenario, effort, seed, progress)
            judged.extend(judge(scenario, result, knows) for result in found)
    except KeyboardInterrupt:
        if judged:
            yield Checked(scenario, tuple(judged))
        raise
    yield Checked(scenario, tuple(judged))


def committed() -> Path:
    """Where the catalogue's schedules are, as short as it can be said here."""
    folder, here = saved_schedules(), Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _explored(
    scenario: Scenario, effort: Effort, seed: int, progress: Callable[[str], None]
) -> Iterator[Result]:
    from lab.exploration import explored
    from lab.target import target

    plan = SearchPlan(
        schedules=effort.bug if scenario.expects else effort.fix,
        until=scenario.expects,
        shrinking=0,
    )
    try:
        yield from explored(
            target(scenario.body),
            plan,
            strategy=DEFAULT,
            seed=seed,
            corpus=Corpus(committed(), also=[FOLDER], keep=False) if effort.replayed else None,
            jobs=effort.jobs,
            progress=progress,
        )
    except BadFile as bad:
        raise UsageError(f"lab check: {bad}") from bad
