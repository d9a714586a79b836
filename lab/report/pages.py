"""The catalogue as Markdown: a page for each family, and one that compares the mechanisms.

Everything on them is made from something that is run: the words are docstrings, the differences
are computed from the code, the reports are those of real runs. So a page can be out of date, but
it cannot be wrong for long: a test makes it again and compares.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.report.show import code, paragraphs, shared

if TYPE_CHECKING:
    from lab.catalogue import Case
    from lab.scenario import Scenario
    from lab.source import Difference

_WIDTH = 100
INDEX = "README.md"
_MADE = "<!-- Made by `lab catalogue` from {}. Change that, and make the page anew. -->"


@dataclass(frozen=True)
class Mechanism:
    """A way in which processes share something, and what is known of it."""

    name: str
    users: str
    """Who may use it."""
    guarantees: str
    killed_by: str
    """What ends it, or makes it fail."""
    leaks: str
    """How it is left behind."""
    families: tuple[str, ...] = ()
    """It is what the bugs of these families are about, but for those that another one names."""
    scenarios: tuple[str, ...] = ()
    """Scenarios that show it, each an id or the beginning of several."""


@dataclass(frozen=True)
class Exhibit:
    """A bug with its fixes, and all that is told of them."""

    case: Case
    explanations: Mapping[str, str]
    """By the id of a scenario."""
    differences: Mapping[str, Difference]
    """By the id of a fix."""
    reports: Mapping[str, str] = field(default_factory=dict)
    """By the id of a scenario: what the lab sees in the bug by its saved schedule, and in a fix
    that is led along the same."""


@dataclass(frozen=True)
class Family:
    """What a page is about."""

    name: str
    story: str
    """The docstring of its module."""
    exhibits: tuple[Exhibit, ...]
    common: str
    """The code that they share."""

    @property
    def title(self) -> str:
        """The first sentence of its story, or its name."""
        return paragraphs(self.story)[0].rstrip(".") or self.name


def family_page(family: Family) -> str:
    """The page of a family."""
    parts = [
        _MADE.format(f"scenarios/{family.name}.py"),
        f"# {family.title}",
        *map(_filled, paragraphs(family.story)[1:]),
        _contents(family),
    ]
    for exhibit in family.exhibits:
        parts.extend(_exhibit(exhibit))
    if family.common:
        parts += ["## What they have in common", _fence("py", family.common)]
    parts.append(f"Which mechanism guarantees what: [the table]({INDEX}).")
    return "\n\n".join(parts) + "\n"


def index_page(families: Sequence[Family], mechanisms: Sequence[Mechanism]) -> str:
    """The page that begins with the families and ends with the mechanisms."""
    rows = [
        (
            f"[{family.name}]({family.name}.md)",
            family.title,
            str(sum(exhibit.case.bug is not None for exhibit in family.exhibits)),
            str(sum(len(exhibit.case.fixes) for exhibit in family.exhibits)),
        )
        for family in families
    ]
    shown = _shown(families, mechanisms)
    compared = [
        (each.name, each.users, each.guarantees, each.killed_by, each.leaks, ", ".join(links))
        for each, links in zip(mechanisms, shown, strict=True)
        if links
    ]
    parts = [
        _MADE.format("the scenarios and scenarios/_mechanisms.py"),
        "# The catalogue",
        _filled(
            "Programs of several processes that go wrong, each beside programs that do not. Each "
            "bug is shown by the schedule that is saved for it, and each of its fixes is led along "
            "the same one. `lab show ID` prints the code, `lab compare BUG FIX` repeats the rest."
        ),
        _table(("family", "about", "bugs", "fixes"), rows),
    ]
    if compared:
        head = ("mechanism", "who may use it", "guarantees", "what kills it", "how it leaks")
        parts += ["## The mechanisms", _table((*head, "shown by"), compared)]
    return "\n\n".join(parts) + "\n"


def without_reports(page: str) -> str:
    """A page as it is known without running anything."""
    return re.sub(r"^```text\n.*?^```$", "```text\n```", page, flags=re.MULTILINE | re.DOTALL)


def _contents(family: Family) -> str:
    rows = [
        (
            f"[{bug.name}](#{bug.name})",
            ", ".join(sorted(bug.expects)),
            ", ".join(fix.name for fix in exhibit.case.fixes),
        )
        for exhibit in family.exhibits
        if (bug := exhibit.case.bug)
    ]
    return _table(("bug", "shows", "fixed by"), rows)


def _exhibit(exhibit: Exhibit) -> Iterator[str]:
    bug = exhibit.case.bug
    if bug is None:
        return
    yield f"## {bug.name}"
    yield from map(_filled, paragraphs(exhibit.explanations[bug.id]))
    yield f"`lab explore {bug.id}` finds it; its saved schedule shows this:"
    yield _fence("text", exhibit.reports.get(bug.id, ""))
    for fix in exhibit.case.fixes:
        yield from _fix(exhibit, bug, fix)


def _fix(exhibit: Exhibit, bug: Scenario, fix: Scenario) -> Iterator[str]:
    difference = exhibit.differences[fix.id]
    yield f"### Mended by {fix.name}"
    yield from map(_filled, paragraphs(exhibit.explanations[fix.id]))
    yield _fence("diff", code(difference))
    if difference.shared:
        yield _filled(shared(difference, "`"))
    yield f"Led along the schedule of the bug (`lab compare {bug.id} {fix.id}`):"
    yield _fence("text", exhibit.reports.get(fix.id, ""))


def _shown(families: Sequence[Family], mechanisms: Sequence[Mechanism]) -> list[list[str]]:
    """For each mechanism, links to what shows it."""
    shown: list[list[str]] = [[] for _ in mechanisms]
    for exhibit in (exhibit for family in families for exhibit in family.exhibits):
        bug = exhibit.case.bug
        if bug is None:
            continue
        naming = [
            index
            for index, each in enumerate(mechanisms)
            if any(_is_named(member, each) for member in exhibit.case.members)
        ]
        of_family = [i for i, each in enumerate(mechanisms) if bug.family in each.families]
        bug_is_named = any(_is_named(bug, each) for each in mechanisms)
        for index in naming if bug_is_named else dict.fromkeys([*of_family, *naming]):
            shown[index].append(f"[{bug.name}]({bug.family}.md#{bug.name})")
    return shown


def _is_named(scenario: Scenario, mechanism: Mechanism) -> bool:
    return scenario.id.startswith(mechanism.scenarios)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in r] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _filled(paragraph: str) -> str:
    return textwrap.fill(paragraph, _WIDTH, break_on_hyphens=False, break_long_words=False)
