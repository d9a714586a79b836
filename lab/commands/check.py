"""`lab check`: the gate of a CI run. Every bug must show itself, every fix must hold.

Each scenario is run freely, as its users run it, and then under control. There a bug must show all
that it declares: by its saved schedules, which are run first and cannot flake, or within so many
others. A fix must hold for as many schedules as are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.catalogue import select
from lab.check import Judged, exit_status, judge
from lab.commands.output import Output, UsageError
from lab.commands.running import Plan, judged, reported
from lab.corpus import BadFile, Corpus
from lab.finding import Verdict
from lab.loop import Plan as SearchPlan
from lab.report.json import result_object
from lab.report.style import Style, cut, printable
from lab.report.terminal import count, kinds
from lab.run.limits import Isolation
from lab.search.named import DEFAULT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from lab.finding import Result
    from lab.scenario import Scenario


@dataclass(frozen=True)
class Effort:
    """How far a scenario is searched under control."""

    bug: int = 200
    """Schedules within which a bug must have shown all that it declares."""
    fix: int = 50
    seeds: int = 1
    """A bug must show itself with each of so many."""


FULL = Effort(fix=500, seeds=20)


def execute(arguments: argparse.Namespace) -> int:
    """Check what was asked for: 0 all as declared, 1 something differs, 3 something undecided."""
    output = Output(arguments.json)
    scenarios = select(arguments.ids)
    plan = Plan(runs=arguments.runs, isolation=Isolation(arguments.isolation))
    if plan.isolation is Isolation.SNAPSHOTS and not arguments.observed:
        raise UsageError("lab check: control needs namespaces; add --observed to do without both")
    effort = FULL if arguments.full else Effort()
    seen: list[list[Judged]] = []
    try:
        with reported(output) as documents:
            for scenario in scenarios:
                seen.append([])
                for each in judged([scenario], plan, output, documents):
                    seen[-1].append(each)
                if not arguments.observed:
                    seen[-1].extend(_controlled(scenario, effort, output, documents))
                output.say(_line(seen[-1], output.style))
    except KeyboardInterrupt:
        output.say(_summary(seen, len(scenarios)))
        raise
    output.say(_summary(seen, len(scenarios)))
    return exit_status(each for both in seen for each in both)


def _controlled(
    scenario: Scenario, effort: Effort, output: Output, documents: list[dict[str, Any]]
) -> Iterator[Judged]:
    """Explore a scenario and compare what that shows with its declaration.

    Of several seeds only the first that differs is told, or the last.
    """
    for seed in range(effort.seeds if scenario.expects else 1):
        try:
            verdict = judge(scenario, _explored(scenario, effort, seed, output))
        except BadFile as bad:
            raise UsageError(f"lab check: {bad}") from bad
        if verdict.differences:
            break
    documents.append(result_object(verdict.result) | {"differences": list(verdict.differences)})
    yield verdict


def _explored(scenario: Scenario, effort: Effort, seed: int, output: Output) -> Result:
    from lab.exploration import explored
    from lab.target import target

    plan = SearchPlan(
        schedules=effort.bug if scenario.expects else effort.fix,
        until=scenario.expects,
        shrinking=0,
    )
    (result,) = explored(
        target(scenario.body),
        plan,
        strategy=DEFAULT,
        seed=seed,
        corpus=Corpus(keep=False),
        progress=output.progress,
    )
    return result


def _line(both: list[Judged], style: Style) -> str:
    worst = next(
        (each for each in both if each.differs),
        next((each for each in both if each.undecided), both[-1]),
    )
    if worst.undecided:
        stale = "stale" if worst.result.stale else worst.result.verdict
        start = style.paint(f"{style.unknown} {stale:<7}", "yellow")
    elif worst.differs:
        start = style.paint(f"{style.bad} differs", "red")
    else:
        start = style.paint(f"{style.good} ok     ", "green")
    scenario, result = worst.scenario, both[-1].result
    controlled = ""
    if result.mode == "controlled":
        found = f"found in {result.runs}" if result.findings else count(result.runs, "schedule")
        controlled = "proved" if result.verdict is Verdict.PROVED else found
    name = f"{scenario.id:<31} {cut(kinds(both[0].result), 18):<18} {controlled}"
    return f"{start}  {scenario.role}  {cut(name, 64)}".rstrip()


def _summary(seen: list[list[Judged]], wanted: int) -> str:
    seen = [both for both in seen if both]
    differing = sum(any(each.differs for each in both) for both in seen)
    undecided = sum(
        any(each.undecided for each in both) and not any(each.differs for each in both)
        for both in seen
    )
    parts = [
        *([f"{differing} not as declared"] if differing else []),
        *([f"{undecided} undecided"] if undecided else []),
    ]
    of = "" if len(seen) == wanted else f"{len(seen)} of "
    total = f"{of}{count(wanted, 'scenario')} checked: " + (
        ", ".join(parts) or "every one as declared"
    )
    lines = [printable(line) for both in seen for each in both for line in each.differences]
    return "\n".join(("", *lines, f"{total}."))
