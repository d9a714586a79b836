"""`lab list`: what there is to run, each bug with its fixes below it."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from lab.catalogue import Case, cases, catalogue
from lab.commands.output import Output
from lab.report.json import scenario_object
from lab.report.style import WIDTH, Style, cut, wrapped
from lab.report.terminal import count
from lab.source import story

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lab.scenario import Scenario


def execute(arguments: argparse.Namespace) -> int:
    """Print the catalogue."""
    output = Output.asked(arguments)
    scenarios = catalogue()
    for family, group in groupby(cases(scenarios), key=lambda case: case.family):
        of_family = tuple(group)
        output.say(_heading(family, of_family, output.style))
        for case in of_family:
            for scenario in case.members:
                output.say(_entry(scenario, output.style, verbose=arguments.verbose))
        output.say()
    bugs = sum(scenario.role == "bug" for scenario in scenarios)
    output.say(
        f"{count(bugs, 'bug')} and {count(len(scenarios) - bugs, 'fix', 'fixes')}. "
        "`lab show ID` prints the code, `lab run ID` runs it."
    )
    output.document([scenario_object(scenario) for scenario in scenarios])
    return 0


def _heading(family: str, of_family: Sequence[Case], style: Style) -> str:
    told = story(scenario for case in of_family for scenario in case.members)
    about = told.partition("\n")[0]
    return f"{style.paint(family, 'bold')}  {cut(about, WIDTH - len(family) - 2)}".rstrip()


def _entry(scenario: Scenario, style: Style, *, verbose: bool) -> str:
    if scenario.role == "bug":
        glyph, look, indent = style.bad, "red", "  "
        right = ", ".join(sorted(scenario.expects))
    else:
        glyph, look, indent = style.good, "green", "    "
        right = f"fixes {scenario.fixes.removeprefix(f'{scenario.family}.')}"
    name = f"{scenario.name:<{36 - len(indent)}}"
    lines = [f"{indent}{style.paint(glyph, look)} {name} {right}"]
    if verbose:
        lines.extend(_particulars(scenario, indent + "    "))
    return "\n".join(lines)


def _particulars(scenario: Scenario, indent: str) -> list[str]:
    lines = [wrapped(scenario.summary, indent=indent)] if scenario.summary else []
    facts: dict[str, Sequence[str]] = {
        "parameters": [f"{p.name}={p.default} ({p.type.__name__})" for p in scenario.parameters],
        "may show too": sorted(scenario.may_show),
        "needs": scenario.needs,
    }
    lines.extend(
        wrapped(f"{name}: {', '.join(values)}", indent=indent, hang=f"{indent}  ")
        for name, values in facts.items()
        if values
    )
    return lines
