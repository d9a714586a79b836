"""`lab check`: the gate of a CI run. Every bug must show itself, every fix must hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.catalogue import select
from lab.check import Judged, exit_status
from lab.commands.output import Output
from lab.commands.running import Plan, judged, reported
from lab.report.style import Style, cut, printable
from lab.report.terminal import count, kinds
from lab.run.limits import Isolation

if TYPE_CHECKING:
    import argparse


def execute(arguments: argparse.Namespace) -> int:
    """Check what was asked for: 0 all as declared, 1 something differs, 3 something undecided."""
    output = Output(arguments.json)
    scenarios = select(arguments.ids)
    plan = Plan(runs=arguments.runs, isolation=Isolation(arguments.isolation))
    seen: list[Judged] = []
    try:
        with reported(output) as documents:
            for each in judged(scenarios, plan, output, documents):
                seen.append(each)
                output.say(_line(each, output.style))
    except KeyboardInterrupt:
        output.say(_summary(seen, len(scenarios)))
        raise
    output.say(_summary(seen, len(scenarios)))
    return exit_status(seen)


def _line(each: Judged, style: Style) -> str:
    if each.undecided:
        start = style.paint(f"{style.unknown} {each.result.verdict:<7}", "yellow")
    elif each.differs:
        start = style.paint(f"{style.bad} differs", "red")
    else:
        start = style.paint(f"{style.good} ok     ", "green")
    scenario = each.scenario
    name = cut(f"{scenario.id:<38} {kinds(each.result)}", 64)
    return f"{start}  {scenario.role}  {name}".rstrip()


def _summary(seen: list[Judged], wanted: int) -> str:
    differing = sum(each.differs for each in seen)
    undecided = sum(each.undecided for each in seen)
    parts = [
        *([f"{differing} not as declared"] if differing else []),
        *([f"{undecided} undecided"] if undecided else []),
    ]
    of = "" if len(seen) == wanted else f"{len(seen)} of "
    total = f"{of}{count(wanted, 'scenario')} checked: " + (
        ", ".join(parts) or "every one as declared"
    )
    lines = [printable(line) for each in seen for line in each.differences]
    return "\n".join(("", *lines, f"{total}."))
