"""`lab show`: the code of a bug and of its fix as a difference, after what both say of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from lab.catalogue import Case, cases, catalogue, select
from lab.commands.output import Output
from lab.exhibition import differences_of
from lab.report.json import scenario_object
from lab.report.show import show
from lab.source import Difference, explanation

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lab.scenario import Scenario


def execute(arguments: argparse.Namespace) -> int:
    """Print each bug that was asked for with its fixes, and each fix with its bug."""
    output = Output.asked(arguments)
    wanted = select(arguments.ids)
    everything = catalogue()
    documents = []
    for index, case in enumerate(_shown(everything, wanted)):
        explanations = {each.id: explanation(each) for each in case.members}
        family = [each for each in everything if each.family == case.family]
        differences = differences_of(case, family)
        output.say(("\n\n" if index else "") + show(case, explanations, differences, output.style))
        documents.append(_document(case, differences))
    output.document(documents)
    return 0


def _shown(everything: Sequence[Scenario], wanted: Sequence[Scenario]) -> list[Case]:
    """The cases in question: of a fix that was asked for alone, with no other fix."""
    return [
        case if case.bug in wanted else replace(case, fixes=fixes)
        for case in cases(everything)
        if (fixes := tuple(fix for fix in case.fixes if fix in wanted)) or case.bug in wanted
    ]


def _document(case: Case, differences: dict[str, Difference]) -> dict[str, Any]:
    assert case.bug
    fixes = [_told(fix) | asdict(differences[fix.id]) for fix in case.fixes]
    return {"bug": _told(case.bug), "fixes": fixes}


def _told(scenario: Scenario) -> dict[str, Any]:
    return scenario_object(scenario) | {"explanation": explanation(scenario)}
