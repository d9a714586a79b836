"""The marker `race` in the company of other options and plugins of pytest."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.two_children import BOTH

pytestmark = pytest.mark.usefixtures("control")

HEAD = (
    """
import asyncio
import mmap
import os
import unittest

import pytest


def shared():
    return memoryview(mmap.mmap(-1, 8)).cast("q")
"""
    + BOTH
)
LOSES = (
    HEAD
    + """

@pytest.mark.race(schedules=20, shrinking=0)
def test_that_loses():
    cell = shared()

    def count():
        cell[0] += 1

    both(count)
    assert cell[0] == 2
"""
)
HOLDS = """

@pytest.mark.race(strategy="random", schedules=2)
def test_that_holds():
    cell = shared()
    both(lambda: cell[0])
"""


_ALONE = ("-p", "no:cacheprovider")


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=source)
    return pytester.runpytest(*options)


def test_x_ends_the_session_with_the_first_that_fails(pytester: pytest.Pytester) -> None:
    result = run(pytester, LOSES + HOLDS, "-x", *_ALONE)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])


def test_lf_runs_what_failed_and_nothing_else(pytester: pytest.Pytester) -> None:
    run(pytester, LOSES + HOLDS).assert_outcomes(failed=1, passed=1)

    again = run(pytester, LOSES + HOLDS, "--lf")

    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*LOST UPDATE  test_it.py::test_that_loses *"])


def test_without_the_plugin_a_marked_test_is_an_ordinary_one(pytester: pytest.Pytester) -> None:
    source = LOSES.replace("assert cell[0] == 2", "assert cell[0] in (1, 2)")

    result = run(pytester, source, "-p", "no:lab", "-W", "default", *_ALONE)

    result.assert_outcomes(passed=1)


def test_an_async_test_forks_within_its_loop(pytester: pytest.Pytester) -> None:
    source = (
        HEAD
        + """

@pytest.fixture
async def cell():
    await asyncio.sleep(0)
    return shared()


@pytest.mark.asyncio
@pytest.mark.race
async def test_it(cell):
    def count():
        cell[0] += 1

    both(count)
    await asyncio.sleep(0)
    assert cell[0] == 2
"""
    )
    pytester.makeini("[pytest]\nasyncio_mode=auto\nasyncio_default_fixture_loop_scope=function")

    result = run(pytester, source, "-p", "asyncio", *_ALONE)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*LOST UPDATE  test_it.py::test_it *"])


def test_a_time_limit_that_is_over_ends_the_exploration(pytester: pytest.Pytester) -> None:
    source = (
        HEAD
        + """

@pytest.mark.race(strategy="random", schedules=1_000_000)
def test_without_end():
    cell = shared()
    both(lambda: cell[0])


def test_the_next():
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        assert children.read() == ""
"""
    )

    result = run(pytester, source, "--timeout=3", *_ALONE)

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*Failed: Timeout*"])


def test_in_random_order_the_schedules_are_the_same(pytester: pytest.Pytester) -> None:
    source = LOSES + HOLDS

    told = [
        run(pytester, source, *_ALONE, "-p", "randomly", f"--randomly-seed={seed}")
        for seed in (1, 2)
    ]

    for each in told:
        each.assert_outcomes(failed=1, passed=1)
    tokens = {re.search(r'replay="(.*)"', each.stdout.str())[1] for each in told}  # type: ignore[index]
    assert len(tokens) == 1


def test_forked_code_is_covered(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        program="""
def in_the_child(cell):
    cell[0] += 1


def never():
    raise AssertionError
"""
    )
    source = (
        HEAD
        + """
import program


@pytest.mark.race(strategy="random", schedules=2)
def test_it():
    cell = shared()
    both(lambda: program.in_the_child(cell))
"""
    )
    pytester.makepyfile(test_it=source)

    result = pytester.runpytest_subprocess(*_ALONE, "--cov=program", "--cov-report=term-missing")

    result.stdout.fnmatch_lines(["program.py *"])
    line = next(each for each in result.outlines if each.startswith("program.py"))
    assert line.split()[-1] == "6", line


def test_pdb_stops_where_the_replay_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=LOSES)
    # In a process of its own, as the replay is: pytester forgets modules, which a run in this one
    # would then have to import while it is under control.
    told = pytester.runpytest_subprocess(*_ALONE).stdout.str()
    token = re.search(r'replay="(.*)"', told)
    assert token

    done = pytester.run(
        sys.executable,
        *("-m", "pytest", *_ALONE, "--pdb", "--lab-replay", token[1]),
        stdin=b"p 'cell is', cell[0]\nq\n",
    )

    done.stdout.fnmatch_lines(
        ["*lab: the schedule leads here", "*assert cell?0? == 2", "*('cell is', 1)*"]
    )
    done.stdout.no_fnmatch_line("*pytest_race.py*")
    done.stdout.fnmatch_lines(["*LOST UPDATE*", "*1 failed*"])


def test_a_fixture_that_yields_is_torn_down_in_each_run(pytester: pytest.Pytester) -> None:
    source = (
        HEAD
        + """

@pytest.fixture(params=["one", "two"])
def file(request):
    with open(request.param, "a") as text:
        text.write("up ")
    yield shared()
    with open(request.param, "a") as text:
        text.write("down ")


class TestIt(unittest.TestCase):
    def setUp(self):
        self.addCleanup(lambda: None)

    @pytest.mark.race(strategy="random", schedules=2)
    def test_case(self):
        cell = shared()
        both(lambda: cell[0])
        with self.subTest("one"):
            self.assertEqual(cell[0], 0)


@pytest.mark.race(strategy="random", schedules=2)
def test_it(file):
    both(lambda: file[0])
"""
    )

    run(pytester, source, *_ALONE).assert_outcomes(passed=3)

    for name in ("one", "two"):
        assert Path(pytester.path / name).read_text() == "up down " * 2
