"""Search bugs, and keep beside the catalogue the simplest schedule that shows each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.catalogue import saved_schedules
from lab.check import judge
from lab.commands.checking import Effort, committed
from lab.commands.output import Output, UsageError
from lab.commands.running import judged_story, reported
from lab.corpus import BadFile, Corpus, read
from lab.finding import Verdict
from lab.loop import Plan
from lab.report.style import Style, cut
from lab.report.terminal import count, kinds
from lab.search.named import DEFAULT
from lab.search.schedule import Schedule
from lab.search.token import Source, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from lab.finding import Finding, Result
    from lab.scenario import Scenario


@dataclass(frozen=True)
class Kept:
    """What became of the schedules of a bug."""

    scenario: Scenario
    result: Result
    """Of the search."""
    saved: tuple[tuple[Finding, Path], ...] = ()
    """None if the bug did not show all that it declares; then the old ones stay."""


def kept(scenario: Scenario, progress: Callable[[str], None] = lambda _: None) -> Kept:
    """Search a bug as `lab check` does, shrink what is found, and keep a schedule for each kind.

    The same search gives the same files, so what has not changed is not written anew.

    Raises LabError where control is refused, UsageError if a file cannot be written or read.
    """
    from lab.exploration import explored
    from lab.target import target

    wanted = target(scenario.body)
    plan = Plan(schedules=Effort.bug, until=scenario.expects)
    (result,) = explored(wanted, plan, strategy=DEFAULT, seed=0, progress=progress)
    simplest = _simplest(result.findings, scenario)
    if len(simplest) < len(scenario.expects):
        return Kept(scenario, result)
    corpus = Corpus(saved_schedules())
    try:
        before = [each.path for each in corpus.of(wanted.origin)]
        saved = tuple(corpus.save(simplest, stale=before))
        for path in set(before).difference(path for _, path in saved):
            path.unlink()
    except (OSError, BadFile) as trouble:
        raise UsageError(f"lab check --save: {trouble}") from trouble
    return Kept(scenario, result, saved)


def execute(scenarios: Sequence[Scenario], output: Output, *, everything: bool) -> int:
    """Keep schedules of the bugs among the scenarios, and say what became of each.

    1 if one did not show all that it declares, 3 if one could not be searched, else 0.

    Args:
        scenarios: those asked for.
        output: of the command.
        everything: there are no others, so that what belongs to none of them can go.
    """
    done: list[Kept] = []
    with reported(output) as stories:
        for bug in (scenario for scenario in scenarios if scenario.expects):
            done.append(kept(bug, output.progress))
            stories.append(judged_story(judge(bug, done[-1].result)))
            output.say(line(done[-1], output.style))
        for path in cleared(scenarios) if everything else ():
            output.say(f"  removed: {path.name}, whose scenario is not there")
    missed = [each.result for each in done if not each.saved]
    held = count(sum(len(each.saved) for each in done), "schedule")
    without = f"; of {count(len(missed), 'bug')} there is none" if missed else ""
    output.say(f"\n{held} of {count(len(done) - len(missed), 'bug')} in {committed()}{without}.")
    undecided = [result for result in missed if result.verdict is Verdict.ERROR]
    return (3 if len(undecided) == len(missed) else 1) if missed else 0


def line(done: Kept, style: Style) -> str:
    """What became of the schedules of a bug, on one line."""
    name = done.scenario.id
    if not done.saved:
        expected = ", ".join(sorted(done.scenario.expects))
        seen = kinds(done.result) or done.result.verdict
        why = f"expected {expected}, seen {seen} in {count(done.result.runs, 'schedule')}"
        start = style.paint(f"{style.bad} missed", "red")
    else:
        schedules = (Token.read(finding.schedule).schedule for finding, _ in done.saved)
        why = "; ".join(
            f"{finding.kind}: {_told(schedule)}"
            for (finding, _), schedule in zip(done.saved, schedules, strict=True)
        )
        start = style.paint(f"{style.good} saved ", "green")
    return f"{start}  {name:<36} {cut(why, 34)}".rstrip()


def _told(schedule: Schedule) -> str:
    if not schedule.deviations:
        return "in the default order"
    if not schedule.preemptions:
        return f"{count(len(schedule.deviations), 'choice')} out of turn"
    return count(schedule.preemptions, "preemption")


def cleared(scenarios: Iterable[Scenario]) -> tuple[Path, ...]:
    """Remove the schedules of scenarios that are not among these; gives what was removed.

    Raises UsageError for a file that holds no schedule.
    """
    ids = {scenario.id for scenario in scenarios}
    try:
        strays = tuple(
            path
            for path in sorted(saved_schedules().glob("*.json"))
            if not _belongs(read(path).token, ids)
        )
        for path in strays:
            path.unlink()
    except (OSError, BadFile) as trouble:
        raise UsageError(f"lab check --save: {trouble}") from trouble
    return strays


def _belongs(token: Token, ids: Collection[str]) -> bool:
    return token.origin.source is Source.SCENARIO and token.origin.name in ids


def _simplest(findings: Iterable[Finding], scenario: Scenario) -> tuple[Finding, ...]:
    """Of each kind that is declared, the finding with the simplest schedule."""
    best: dict[str, Finding] = {}
    for finding in findings:
        if finding.kind in scenario.expects and finding.schedule:
            known = best.get(finding.kind)
            if known is None or _schedule(finding) < _schedule(known):
                best[finding.kind] = finding
    return tuple(best.values())


def _schedule(finding: Finding) -> Schedule:
    return Token.read(finding.schedule).schedule
