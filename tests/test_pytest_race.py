"""The marker and the fixture `race`, as the author of a test suite meets them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from lab.run.control import ControlRefusedError
from tests.two_children import BOTH

CELL = (
    """
import mmap
import os
import unittest

import pytest
"""
    + BOTH
    + """

def shared():
    return memoryview(mmap.mmap(-1, 8)).cast("q")
"""
)
UNGUARDED = (
    CELL
    + """
def unguarded():
    cell = shared()

    def count():
        cell[0] += 1

    both(count)
    return cell[0]


"""
)
LOSES = (
    CELL
    + """
@pytest.mark.race
def test_both_count():
    cell = shared()

    def count():
        cell[0] += 1

    both(count)
    assert cell[0] == 2
"""
)
APPENDS = (
    CELL
    + """
@pytest.mark.race
def test_both_lines_are_there(tmp_path):
    def append():
        file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, b"line\\n")

    both(append)
    assert (tmp_path / "log").read_text() == "line\\n" * 2
"""
)

DEPOSITS = (
    CELL
    + """
@pytest.mark.race
def test_both_pay(tmp_path):
    total = tmp_path / "total"
    total.write_text("0")
    both(lambda: total.write_text(str(int(total.read_text() or 0) + 10)))
    assert total.read_text() == "20"
"""
)


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=source)
    return pytester.runpytest("-p", "no:cacheprovider", *options)


@pytest.mark.usefixtures("control")
def test_an_unchanged_test_fails_under_the_schedule_that_breaks_it(
    pytester: pytest.Pytester,
) -> None:
    result = run(pytester, LOSES)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "* LOST UPDATE  test_it.py::test_both_count *",
            "*read shared-memory:1 -> 0 *test_it.py:27*",
            '*Replay: @pytest.mark.race(replay="1*")',
            "* INVARIANT  test_it.py::test_both_count *",
            "*An assertion failed at test_it.py:30: assert 1 == 2.",
        ]
    )
    # The test's author has no business in these files.
    assert "site-packages" not in result.stdout.str()
    assert "pytest_body" not in result.stdout.str()


@pytest.mark.usefixtures("control")
def test_the_line_to_paste_runs_that_schedule_only(pytester: pytest.Pytester) -> None:
    told = run(pytester, LOSES).stdout.str()
    marker = re.search(r"@pytest\.mark\.race\(replay=.*\)", told)
    assert marker

    again = run(pytester, LOSES.replace("@pytest.mark.race", marker[0]))

    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["* LOST UPDATE *failed, 1 of 1 run*"])


@pytest.mark.usefixtures("control")
def test_a_token_on_the_command_line_comes_before_the_marker(pytester: pytest.Pytester) -> None:
    told = run(pytester, LOSES).stdout.str()
    token = re.search(r'replay="(.*)"', told)
    assert token

    run(pytester, LOSES, "--lab-replay", token[1]).stdout.fnmatch_lines(
        ["* LOST UPDATE *failed, 1 of 1 run*"]
    )


@pytest.mark.usefixtures("control")
def test_a_test_that_holds_passes_and_leaves_its_files_to_pytest(
    pytester: pytest.Pytester,
) -> None:
    junit = pytester.path / "junit.xml"

    run(pytester, APPENDS, f"--junitxml={junit}").assert_outcomes(passed=1)

    assert re.search(r'name="lab:race" value="(proved|passed), \d+ runs"', junit.read_text())


@pytest.mark.usefixtures("control")
def test_each_run_has_fixtures_of_its_own_and_the_wider_ones_in_common(
    pytester: pytest.Pytester,
) -> None:
    source = (
        CELL
        + """
log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@pytest.fixture(scope="module")
def wide():
    os.write(log, b"wide up\\n")
    yield 40
    os.write(log, b"wide down\\n")


@pytest.fixture
def cell(wide):
    cell = shared()
    assert cell[0] == 0
    cell[0] = wide
    yield cell
    assert cell[0] == 43


@pytest.mark.race(strategy="random", schedules=5)
@pytest.mark.parametrize("step", [1])
def test_fresh(cell, step):
    lock = mmap.mmap(-1, 8)
    cell[0] += step
    both(lambda: lock[0])
    cell[0] += 2


def test_an_ordinary_one(cell):
    cell[0] += 3
"""
    )

    run(pytester, source).assert_outcomes(passed=2)

    assert (pytester.path / "log").read_text() == "wide up\nwide down\n"


@pytest.mark.usefixtures("control")
def test_a_failing_teardown_fails_the_test(pytester: pytest.Pytester) -> None:
    source = (
        CELL
        + """
@pytest.fixture
def cell():
    cell = shared()
    yield cell
    assert cell[0] == 2, "seen in the teardown"


@pytest.mark.race
def test_count(cell):
    def count():
        cell[0] += 1

    both(count)
"""
    )

    result = run(pytester, source)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*An assertion failed at test_it.py:*: seen in the teardown*"])


@pytest.mark.usefixtures("control")
def test_classes_test_cases_and_marks_go_on_working(pytester: pytest.Pytester) -> None:
    source = (
        UNGUARDED
        + """
@pytest.mark.race
class TestClass:
    def setup_method(self):
        self.expected = 2

    @pytest.mark.xfail(strict=True)
    def test_in_a_class(self):
        assert unguarded() == self.expected


class TestCase(unittest.TestCase):
    def setUp(self):
        self.expected = 2

    @pytest.mark.race
    def test_in_a_case(self):
        self.assertEqual(unguarded(), self.expected)


@pytest.mark.race
def test_that_skips():
    pytest.skip("not today")


@pytest.mark.race
def test_that_gives_up():
    pytest.xfail("not yet")


@pytest.mark.race
@pytest.mark.skipif(True, reason="never")
def test_that_is_skipped():
    raise AssertionError
"""
    )

    result = run(pytester, source, "-rsx")

    result.assert_outcomes(failed=1, skipped=2, xfailed=2)
    result.stdout.fnmatch_lines(["SKIPPED*not today", "SKIPPED*never", "XFAIL*not yet"])
    result.stdout.fnmatch_lines(["*LOST UPDATE  test_it.py::TestCase::test_in_a_case *"])


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("race", "*VACUOUS *nothing was tested*"),
        ("race(200)", "race: write settings by name, as in race(schedules=200)"),
        ("race(scheduels=3)", "race: there is no setting scheduels; there are: depth, *"),
        ("race(strategy='poss')", "race: there is no strategy 'poss'; nearest: pos"),
        ("race(schedules=0)", "race: at least one schedule*"),
        ("race(replay='2f7a')", "race: *2f7a*"),
    ],
)
def test_what_tests_nothing_or_makes_no_sense_fails(
    pytester: pytest.Pytester, marker: str, message: str
) -> None:
    result = run(pytester, f"import pytest\n@pytest.mark.{marker}\ndef test_nothing():\n    pass\n")

    result.assert_outcomes(failed=1)
    shown = " ".join(result.stdout.str().split())
    assert re.search(re.escape(message).replace(r"\*", ".*"), shown), shown
    assert "Traceback" not in shown


@pytest.mark.usefixtures("control")
def test_the_command_line_says_how_often(pytester: pytest.Pytester) -> None:
    source = APPENDS.replace("mark.race", "mark.race(strategy='random', schedules=2, seed=1)")
    junit = pytester.path / "junit.xml"

    run(pytester, source, "--lab-schedules", "4", f"--junitxml={junit}").assert_outcomes(passed=1)

    assert 'value="passed, 4 runs"' in junit.read_text()


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that refuses control."""

    def refuse(*_: object, **__: object) -> None:
        raise ControlRefusedError("ptrace is refused here")

    monkeypatch.setattr("lab.run.control.in_controller", refuse)


@pytest.mark.usefixtures("refusing")
def test_without_control_it_runs_once_and_says_so(pytester: pytest.Pytester) -> None:
    result = run(pytester, APPENDS, "-W", "error")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*= race-lab =*",
            "*test_both_lines_are_there ran once and freely, under no control: ptrace is refused*",
        ]
    )


@pytest.mark.usefixtures("refusing")
def test_without_control_a_strict_session_fails(pytester: pytest.Pytester) -> None:
    result = run(pytester, APPENDS, "--lab-strict")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["race: ptrace is refused here"])


@pytest.mark.usefixtures("control")
def test_workers_of_xdist_run_them_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_one=LOSES, test_two=APPENDS)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2"],
        cwd=pytester.path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 failed, 1 passed" in done.stdout
    assert "LOST UPDATE  test_one.py::test_both_count" in done.stdout


@pytest.mark.usefixtures("control")
def test_the_fixture_explores_and_replays_by_hand(pytester: pytest.Pytester) -> None:
    source = (
        UNGUARDED
        + """
def loses():
    unguarded()


def test_by_hand(race):
    seen = race.explore(loses, schedules=20, stop_at_first=True)
    seen.assert_finds("lost-update")
    race.replay(seen.findings[0], loses).assert_finds("lost-update")
    race.explore("counter.posix_guarded", schedules=2).assert_clean()
    seen.assert_clean()
"""
    )

    result = run(pytester, source)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *expected no finding; seen:", "*- lab: test_it:loses -*"])


@pytest.mark.usefixtures("control")
def test_a_schedule_holds_in_the_next_session_whose_temporary_directories_have_other_numbers(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyprojecttoml('[tool.lab]\nsaved = "failed"\nschedules = 20\n')
    pytester.makepyfile(test_it=DEPOSITS)
    pytester.runpytest("--basetemp=first").assert_outcomes(failed=1)
    (file, *_) = sorted(pytester.path.glob("failed/*.lost-update.*.json"))

    again = pytester.runpytest("--basetemp=second", "--lab-replay", str(file))

    again.stdout.fnmatch_lines(
        ["* LOST UPDATE *failed, 1 of 1 run*", "*$BASETEMP/test_both_pay0/total*"]
    )


@pytest.mark.usefixtures("control")
def test_the_file_of_a_saved_schedule_replays_the_test_it_belongs_to(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyprojecttoml('[tool.lab.profile.nightly]\nsaved = "failed"\nschedules = 20\n')
    source = LOSES + APPENDS.replace("def test_both_lines", "def test_other_lines")
    pytester.makepyfile(test_it=source)
    # In a process of its own, as the replay is: see the test of --pdb.
    first = pytester.runpytest_subprocess("--lab-profile=nightly", "-k", "count")
    first.assert_outcomes(failed=1)
    files = sorted(pytester.path.glob("failed/test_it.py-test_both_count.*.json"))

    lab = pytester.run(sys.executable, "-m", "lab", "replay", files[0])

    assert lab.ret == 1
    lab.stdout.fnmatch_lines(["*LOST UPDATE *test_both_count *failed, 1 of 1 run*"])
    result = pytester.runpytest("--lab-replay", str(files[0]))
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*holds no schedule of test_it.py::test_other_lines*"])
