"""What the pages of the catalogue tell: its code, and what the lab sees when it is run.

The reports are those of real runs, each bug by its saved schedule and each fix led along the same.
They hold nothing that differs from machine to machine or from day to day: time is virtual, PIDs are
those of a namespace, and where things lie is told from the folder of the scenarios.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lab.catalogue import Case, cases, saved_schedules
from lab.corpus import Corpus
from lab.finding import Result, Verdict
from lab.loop import MOST_STEPS
from lab.report.compare import compare
from lab.report.pages import Exhibit, Family, Mechanism
from lab.report.terminal import render
from lab.run.limits import LabError
from lab.source import Difference, difference, explanation, source, story

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.scenario import Scenario


def families(everything: Sequence[Scenario]) -> tuple[Family, ...]:
    """All that is known of each family without running anything."""
    names = dict.fromkeys(scenario.family for scenario in everything)
    return tuple(_family(name, [s for s in everything if s.family == name]) for name in names)


class OutOfDate(LabError):  # noqa: N818  # what it is, and no error if it can be renewed
    """A bug has no saved schedule, or one that leads elsewhere now."""


Renew = Callable[["Scenario"], None]
"""Saves a schedule for a bug anew. Raises LabError where that cannot be done."""


def with_reports(family: Family, renew: Renew | None = None) -> Family:
    """Run the bugs of a family by their saved schedules, and lead the fixes along them.

    Args:
        family: as `families` gives it.
        renew: is given each bug whose schedule is out of date.

    Raises OutOfDate where a schedule is so and cannot be renewed, LabError where a program cannot
    be run, BadFile for a file that holds no schedule.
    """
    exhibits = tuple(
        dataclasses.replace(exhibit, reports=_reports(exhibit.case, renew))
        for exhibit in family.exhibits
    )
    return dataclasses.replace(family, exhibits=exhibits)


def mechanisms() -> tuple[Mechanism, ...]:
    """Those that the package of the scenarios tells of in its module `_mechanisms`, if any."""
    with contextlib.suppress(ModuleNotFoundError):
        return tuple(importlib.import_module("scenarios._mechanisms").MECHANISMS)
    return ()


def differences_of(case: Case, family: Sequence[Scenario]) -> dict[str, Difference]:
    """How each fix of a case differs from the bug, by the id of the fix.

    Args:
        case: the bug, with those of its fixes that matter.
        family: all scenarios that lie beside it.
    """
    bug = case.bug
    if bug is None:
        return {}
    others = [each for each in family if bug.id not in (each.id, each.fixes)]
    return {fix.id: difference(bug, fix, others) for fix in case.fixes}


def _family(name: str, members: Sequence[Scenario]) -> Family:
    exhibits = tuple(
        Exhibit(
            case,
            {member.id: explanation(member) for member in case.members},
            differences_of(case, members),
        )
        for case in cases(members)
    )
    shared = {each for e in exhibits for d in e.differences.values() for each in d.shared}
    return Family(name, story(members), exhibits, source(members[0], shared))


def _reports(case: Case, renew: Renew | None) -> dict[str, str]:
    from lab.comparison import guided, leading
    from lab.target import target

    if case.bug is None:
        return {}
    try:
        runs = _replayed(case.bug)
    except OutOfDate:
        if renew is None:
            raise
        renew(case.bug)
        runs = _replayed(case.bug)
    texts = [_text(result).replace(token, _place(path)) for token, path, result in runs]
    reports = {case.bug.id: "\n\n".join(texts)}
    finding = next((found for _, _, result in runs if (found := leading(result))), None)
    for fix in case.fixes if finding else ():
        assert finding
        guidance = guided(target(fix.body), finding, max_steps=MOST_STEPS)
        result = guidance.result
        if result.verdict is not Verdict.PASSED:
            what = result.reason or f"{result.findings[0].kind} on the schedule of its bug"
            raise LabError(f"{fix.id}: {what}. Look closer: lab compare {case.bug.id} {fix.id}")
        beside = compare((case.bug.id, fix.id), finding, guidance.events, guidance.waits)
        reports[fix.id] = f"{beside}\n\n{_text(result)}"
    return reports


def _replayed(bug: Scenario) -> list[tuple[str, Path, Result]]:
    """What the saved schedules of a bug show; where several are one run, once."""
    from lab.exploration import replay
    from lab.target import target

    wanted = target(bug.body)
    if wanted.lacking:
        raise LabError(f"{bug.id} needs {', '.join(wanted.lacking)}; install it, then try again")
    again = f"make it anew: lab check --save {bug.id}"
    corpus = Corpus(saved_schedules())
    saved = {str(each.token): each.path for each in corpus.of(wanted.origin)}
    if not saved:
        raise OutOfDate(f"{bug.id} has no saved schedule; {again}")
    runs = []
    for token, path in saved.items():
        result = replay(token)
        if result.verdict is not Verdict.FAILED:
            raise OutOfDate(f"{path}: {result.reason or 'it shows nothing'}; {again}")
        runs.append((token, path, result))
    return runs


def _text(result: Result) -> str:
    """A report without what differs from machine to machine and from day to day."""
    findings = tuple(
        dataclasses.replace(
            finding,
            summary=_from_the_package(finding.summary),
            details=tuple(map(_from_the_package, finding.details)),
        )
        for finding in result.findings
    )
    return render(dataclasses.replace(result, findings=findings, output=""), how=False)


def _from_the_package(text: str) -> str:
    """A text in which places are told from where the package of the scenarios lies."""
    above = saved_schedules().parents[1]
    library = sysconfig.get_path("stdlib")
    return (
        text.replace(f"{above}/", "")
        .replace(f"{os.path.relpath(above)}/", "")
        .replace(f"{library}/", "")
    )


def _place(path: Path) -> str:
    return "/".join(path.parts[-3:])
