"""The exhibits keep their promises: plain code, told in three sentences, no bug without a fix."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import scenarios
from lab.scenario import Scenario, declared

FILES = sorted(
    path for path in Path(scenarios.__file__).parent.glob("*.py") if not path.stem.startswith("_")
)
EXHIBITS = {
    found.id: found
    for path in FILES
    for candidate in vars(importlib.import_module(f"scenarios.{path.stem}")).values()
    if (found := declared(candidate)) is not None
}
WORDS = {"scenario", "Tally", "Messages", "RedisServer"}
"""What a body may take from the lab: how to declare itself, how to say what came out, and what the
lab is to have ready for it."""

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
each_exhibit = pytest.mark.parametrize("exhibit", EXHIBITS.values(), ids=EXHIBITS)


def test_the_families_are_all_here() -> None:
    assert {found.family for found in EXHIBITS.values()} >= {
        "counter",
        "message_queue",
        "signal",
        "fifo",
        "pipe",
        "semaphore",
        "file",
        "log",
        "shared_memory",
        "interrupt",
        "process",
        "socket",
        "redis_counter",
        "redis_lock",
        "redis_queue",
    }


@each_file
def test_a_family_takes_from_the_lab_only_the_words_to_declare_itself(path: Path) -> None:
    taken = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module="lab", names=names):
                taken |= {name.name for name in names}
            case ast.ImportFrom(module=str(module)) if module.startswith("lab."):
                taken.add(module)
            case ast.Import(names=names):
                taken |= {name.name for name in names if name.name.partition(".")[0] == "lab"}
            case _:
                pass
    assert "scenario" in taken
    assert taken <= WORDS


@each_file
def test_a_family_tells_its_story_before_its_scenarios(path: Path) -> None:
    story = ast.get_docstring(ast.parse(path.read_text()))
    assert story is not None
    assert len(_sentences(story)) >= 3


@each_exhibit
def test_a_scenario_is_told_in_three_sentences_and_the_first_fills_one_line(
    exhibit: Scenario,
) -> None:
    told = inspect.getdoc(exhibit.body) or ""
    assert len(_sentences(told)) == 3
    assert _sentences(told)[0] == exhibit.summary


@each_exhibit
def test_a_fix_mends_a_bug_of_its_own_file_and_a_bug_has_a_fix(exhibit: Scenario) -> None:
    if exhibit.role == "fix":
        assert EXHIBITS[exhibit.fixes].role == "bug"
        assert EXHIBITS[exhibit.fixes].body.__module__ == exhibit.body.__module__
    else:
        assert [fix for fix in EXHIBITS.values() if fix.fixes == exhibit.id]


@each_exhibit
def test_a_fix_bears_the_load_of_its_bug(exhibit: Scenario) -> None:
    bug = EXHIBITS.get(exhibit.fixes, exhibit)
    load = {parameter.name: parameter for parameter in bug.parameters}
    for parameter in exhibit.parameters:
        assert parameter == load.get(parameter.name, parameter)


@each_exhibit
def test_nothing_waits_whole_seconds_by_default(exhibit: Scenario) -> None:
    waits = [parameter.default for parameter in exhibit.parameters if parameter.type is float]
    assert all(float(wait) < 1 for wait in waits)


def _sentences(text: str) -> list[str]:
    return re.findall(r"\S.*?[.!?](?=\s|$)", " ".join(text.split()))
