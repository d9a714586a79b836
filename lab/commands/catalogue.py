"""`lab catalogue`: the pages of the catalogue, made from its code and from real runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.catalogue import catalogue, select
from lab.commands.output import Output, UsageError
from lab.commands.running import demand_linux
from lab.commands.saving import kept, line
from lab.corpus import BadFile
from lab.exhibition import families, mechanisms, with_reports
from lab.report.json import write
from lab.report.pages import INDEX, family_page, index_page
from lab.report.terminal import count

if TYPE_CHECKING:
    import argparse

    from lab.scenario import Scenario


def execute(arguments: argparse.Namespace) -> int:
    """Write the pages; or, with --check, tell which are out of date: 1 if there are any.

    To write is to bring up to date: a schedule that is missing, or leads elsewhere, is saved anew.
    """
    demand_linux()
    output = Output.asked(arguments)

    def renew(bug: Scenario) -> None:
        output.say(line(kept(bug, output.progress), output.style))

    wanted = {scenario.family for scenario in select(arguments.ids)}
    folder = Path(arguments.to)
    everything = families(catalogue())
    pages = {INDEX: index_page(everything, mechanisms())}
    for family in (family for family in everything if family.name in wanted):
        output.progress(f"{family.name}: {count(len(family.exhibits), 'bug')}")
        try:
            told = with_reports(family, None if arguments.check else renew)
            pages[f"{family.name}.md"] = family_page(told)
        except BadFile as bad:
            raise UsageError(f"lab catalogue: {bad}") from bad
    changed = [name for name, page in pages.items() if not _holds(folder / name, page)]
    if not arguments.check:
        for name in changed:
            _write(folder / name, pages[name])
    output.say(_told(changed, folder, check=arguments.check))
    output.document({"folder": str(folder), "changed": changed})
    return 1 if changed and arguments.check else 0


def _told(changed: list[str], folder: Path, *, check: bool) -> str:
    if not changed:
        return f"Every page in {folder} is up to date."
    if check:
        return f"Out of date in {folder}: {', '.join(changed)}. Make them anew: lab catalogue"
    return f"Written in {folder}: {', '.join(changed)}."


def _holds(path: Path, page: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == page


def _write(path: Path, page: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, page)
    except OSError as error:
        raise UsageError(f"lab catalogue: {path}: {error.strerror}") from error
