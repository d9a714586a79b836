"""What a check came to know, as text: a line for each scenario, and in the end what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.finding import Verdict
from lab.report.style import PLAIN, Style, cut, printable
from lab.report.terminal import count, kinds

if TYPE_CHECKING:
    from lab.check import Check, Checked

_NAME = 36
_DETAIL = 29
"""Together with the mark and the role this fills a line."""


def line(checked: Checked, style: Style = PLAIN) -> str:
    """Whether a scenario is as it declares, and how that was seen."""
    scenario, worst = checked.scenario, checked.worst
    if worst.undecided:
        stale = "stale" if worst.result.stale else worst.result.verdict
        start = style.paint(f"{style.unknown} {stale:<7}", "yellow")
    elif worst.differs:
        start = style.paint(f"{style.bad} differs", "red")
    else:
        start = style.paint(f"{style.good} ok     ", "green")
    name = f"{cut(scenario.id, _NAME):<{_NAME}}"
    return f"{start} {scenario.role}  {name} {cut(_how(checked), _DETAIL)}".rstrip()


def summary(check: Check) -> str:
    """What differs, in a line each, and the count of all."""
    parts = [
        *([f"{len(check.differing)} not as declared"] if check.differing else []),
        *([f"{len(check.undecided)} undecided"] if check.undecided else []),
    ]
    done = len(check.scenarios)
    of = "" if done == check.wanted else f"{done} of "
    total = f"{of}{count(check.wanted, 'scenario')} checked: " + (
        ", ".join(parts) or "every one as declared"
    )
    lines = [printable(text) for each in check.scenarios for text in each.differences]
    return "\n".join(("", *lines, f"{total}."))


def _how(checked: Checked) -> str:
    """What was found, and in how many schedules; of a fix, for how many it held."""
    found = kinds(checked.judged[0].result)
    if not checked.controlled:
        return found
    result = checked.controlled[-1].result
    if result.verdict is Verdict.PROVED:
        runs = "proved"
    elif result.findings:
        runs = f"found in {result.runs}"
    else:
        runs = count(result.runs, "schedule")
    return ": ".join(part for part in (found or kinds(result), runs) if part)
