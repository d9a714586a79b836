"""What a check came to know, as text: a line for each scenario, and in the end what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.finding import Verdict
from lab.report.style import PLAIN, Style, cut, printable
from lab.report.terminal import count, kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.check import Check, Checked

_NAME = 36
_DETAIL = 28
"""Together with the mark and the role this fills a line."""


def line(checked: Checked, style: Style = PLAIN) -> str:
    """Whether a scenario is as it declares, and how that was seen."""
    scenario, worst = checked.scenario, checked.worst
    if checked.skipped:
        start = style.paint(f"{style.unknown} skipped", "yellow")
    elif worst.undecided:
        stale = "stale" if worst.result.stale else worst.result.verdict
        start = style.paint(f"{style.unknown} {stale:<7}", "yellow")
    elif worst.differs:
        start = style.paint(f"{style.bad} differs", "red")
    else:
        start = style.paint(f"{style.good} ok     ", "green")
    name = f"{cut(scenario.id, _NAME):<{_NAME}}"
    return f"{start} {scenario.role}  {name} {_how(checked)}".rstrip()


def summary(check: Check) -> str:
    """What differs, in a line each, and the count of all."""
    parts = [
        *([f"{len(check.differing)} not as declared"] if check.differing else []),
        *([f"{len(check.undecided)} undecided"] if check.undecided else []),
        *([f"{len(check.skipped)} skipped"] if check.skipped else []),
    ]
    done = len(check.scenarios)
    of = "" if done == check.wanted else f"{done} of "
    total = f"{of}{count(check.wanted, 'scenario')} checked: " + (
        ", ".join(parts) or "every one as declared"
    )
    differences = [
        text for each in check.scenarios if not each.skipped for text in each.differences
    ]
    lacking = dict.fromkeys(
        need for each in check.skipped for judged in each.judged for need in judged.result.lacking
    )
    remarks = [f"Note: {text}" for each in check.scenarios for text in each.remarks]
    skipped = [f"Skipped: what needs {need}" for need in lacking]
    lines = [printable(text) for text in (*differences, *remarks, *skipped)]
    return "\n".join(("", *lines, f"{total}."))


def _how(checked: Checked) -> str:
    """What was found, and in how many schedules; of a fix, for how many it held."""
    found = kinds(checked.judged[0].result)
    if checked.skipped:
        return ""
    if not checked.controlled:
        return cut(found, _DETAIL)
    result = checked.controlled[-1].result
    if result.verdict is Verdict.PROVED:
        runs = "proved"
    elif result.findings and result.runs <= result.saved:
        runs = "replayed" if not result.stale else "replayed, stale"
    elif result.findings:
        most = max(each.result.runs for each in checked.controlled)
        runs = f"found in {most}"
    else:
        runs = count(result.runs, "schedule")
    told = cut(found or kinds(result), _DETAIL - len(f": {runs}"))
    return f"{told}: {runs}" if told else runs


def effort_table(check: Check, style: Style = PLAIN) -> str:
    """For each family: with how many seeds its bugs were found, and for how long its fixes held.

    What was skipped has no part in it.
    """
    families: dict[str, list[Checked]] = {}
    tried = [each for each in check.scenarios if not each.skipped]
    for each in tried:
        families.setdefault(each.scenario.family, []).append(each)
    return "\n".join(
        (
            style.paint(_ROW.format(*_HEAD), "dim"),
            *(_row(family, checked) for family, checked in families.items()),
            style.paint(_row("all", tried), "bold"),
        )
    )


_HEAD = ["FAMILY", "BUGS", "FOUND", "OF", "WITHIN", "FIXES", "PROVED", "SCHEDULES", "FINDINGS"]
_ROW = "  {:<16} {:>4} {:>6} {:>4} {:>7}   {:>5} {:>6} {:>9} {:>8}"


def _row(name: str, checked: Sequence[Checked]) -> str:
    bugs = [each for each in checked if each.scenario.role == "bug"]
    fixes = [each for each in checked if each.scenario.role == "fix"]
    searches = [search for bug in bugs for search in bug.controlled]
    held = [search.result for fix in fixes for search in fix.controlled]
    found = [search for search in searches if not search.differences]
    return _ROW.format(
        cut(name, 16),
        len(bugs),
        len(found),
        len(searches),
        max((search.result.runs for search in found), default="-"),
        len(fixes),
        sum(result.verdict is Verdict.PROVED for result in held),
        sum(result.runs for result in held),
        sum(len(result.findings) for result in held),
    )
