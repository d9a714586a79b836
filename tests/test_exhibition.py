"""The pages of the catalogue are what `lab catalogue` makes of the code and of the runs today."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.catalogue import catalogue, missing, saved_schedules
from lab.corpus import read
from lab.exhibition import families, mechanisms
from lab.report.pages import INDEX, Family, family_page, index_page, without_reports
from lab.search.token import here

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "catalogue"
FAMILIES = families(catalogue())
ANEW = "make the pages anew: lab catalogue"

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@each_family
def test_a_page_says_what_the_code_says(family: Family) -> None:
    page = (PAGES / f"{family.name}.md").read_text()
    assert without_reports(page) == without_reports(family_page(family)), ANEW


def test_the_table_of_mechanisms_shows_every_bug() -> None:
    page = index_page(FAMILIES, mechanisms())
    assert (PAGES / INDEX).read_text() == page, ANEW
    _, _, table = page.partition("## The mechanisms")
    bugs = [scenario for scenario in catalogue() if scenario.expects]
    assert [bug.id for bug in bugs if f"({bug.family}.md#{bug.name})" not in table] == []


def test_there_is_no_page_of_a_family_that_is_gone() -> None:
    names = {path.name for path in PAGES.iterdir()}
    assert names == {INDEX, *(f"{family.name}.md" for family in FAMILIES)}


@pytest.mark.usefixtures("control")
@each_family
def test_the_reports_on_a_page_are_those_of_today(family: Family) -> None:
    members = [member for exhibit in family.exhibits for member in exhibit.case.members]
    lacking = sorted({need for member in members for need in missing(member)})
    if lacking:
        pytest.skip(f"{family.name} needs {', '.join(lacking)}")
    files = saved_schedules().glob(f"{family.name}.*.json")
    made_on = {read(path).token.made_on for path in files}
    if made_on != {here()}:
        pytest.skip(f"its reports are of {', '.join(sorted(made_on))}, and this is {here()}")
    # As its user starts it: replays need the hash seed and the addresses of the command line.
    command = (sys.executable, "-m", "lab", "catalogue", family.name, "--check", "--to", PAGES)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
