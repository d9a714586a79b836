"""A bug and its fixes to be read: what goes wrong, and how the code of each fix differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.report.style import PLAIN, Style, printable, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.catalogue import Case
    from lab.scenario import Scenario
    from lab.source import Difference

_LOOKS = {"-": "red", "+": "green"}


def show(
    case: Case,
    explanations: Mapping[str, str],
    differences: Mapping[str, Difference],
    style: Style = PLAIN,
) -> str:
    """A case as text. Lines of code are as long as they are; all else fits the page.

    Args:
        case: the bug, with those of its fixes that are to be shown.
        explanations: by the id of a scenario.
        differences: by the id of a fix, from its bug.
        style: of the terminal.
    """
    parts = [_told(each, explanations[each.id], style) for each in case.members]
    for fix in case.fixes if case.bug else ():
        parts.append(code(differences[fix.id], style))
        parts.append(_next(case, fix, differences[fix.id]))
    return "\n\n".join(part for part in parts if part)


def code(difference: Difference, style: Style = PLAIN) -> str:
    """The lines of a difference, each after its sign."""
    return "\n".join(
        style.paint(printable(line), *filter(None, [_LOOKS.get(line[:1])]))
        for line in difference.lines
    )


def paragraphs(text: str) -> list[str]:
    """A docstring as paragraphs, each on one line."""
    return [" ".join(part.split()) for part in text.split("\n\n")]


def shared(difference: Difference, quote: str = "") -> str:
    """What the two use that others use too, each between quotes, in a sentence; "" if nothing."""
    names = ", ".join(f"{quote}{name}{quote}" for name in difference.shared)
    return f"They also use {names}." if names else ""


def _told(scenario: Scenario, explanation: str, style: Style) -> str:
    if scenario.role == "bug":
        start, look = f"{style.bad} BUG", "red"
        right = f"shows {', '.join(sorted(scenario.expects))}"
    else:
        start, look = f"{style.good} FIX", "green"
        right = ""
    name = style.paint(f"{scenario.id:<42}", "bold")
    head = f"{style.paint(start, look, 'bold')}  {name} {right}".rstrip()
    return "\n".join((head, *map(wrapped, paragraphs(explanation))))


def _next(case: Case, fix: Scenario, difference: Difference) -> str:
    assert case.bug
    lines = [wrapped(shared(difference))] if difference.shared else []
    return "\n".join((*lines, f"  See both: lab compare {case.bug.id} {fix.id}"))
