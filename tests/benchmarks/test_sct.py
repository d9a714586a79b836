"""Every program has its bug and is no wreck besides; what is measured is what the table says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest

from benchmarks.sct import __main__ as command
from benchmarks.sct.measure import Search, searches, to_first_bug
from benchmarks.sct.programs import PROGRAMS
from benchmarks.sct.published import COLUMNS, PUBLISHED, best
from benchmarks.sct.table import as_good, heading, line, summary
from lab.essence import Essence, essence
from lab.finding import Kind
from lab.run.control import Runner, in_controller
from lab.run.limits import LabError, Limits
from lab.run.root import Function
from lab.search.random import Random
from lab.search.schedule import Choose
from lab.search.strategy import Point, Pruned
from lab.trace import Action, Trace
from tests.search.models import counter, deadlock01
from tests.search.toy import Program, Task, ToyRunner, read

Phase = tuple[str, Action | None, int]
"""A task moves until it has done so many of an action; None: as long as it can."""


def all_of(task: str) -> Phase:
    return (task, None, 1)


FORKED = all_of("P0")
"""The parent starts all its children before any of them moves."""
BUGS: dict[str, Sequence[Phase]] = {
    "account": (FORKED, all_of("P2"), all_of("P3"), all_of("P1")),
    "lazy01": (),
    "deadlock01": (FORKED, ("P1", Action.ACQUIRE, 1), all_of("P2")),
    "twostage": (FORKED, ("P1", Action.RELEASE, 1), all_of("P2")),
    "reorder_3": (FORKED, ("P1", Action.WRITE, 1), all_of("P3")),
    "reorder_4": (FORKED, ("P1", Action.WRITE, 1), all_of("P4")),
    "reorder_5": (FORKED, ("P1", Action.WRITE, 1), all_of("P5")),
    "reorder_10": (FORKED, ("P1", Action.WRITE, 1), all_of("P10")),
    "stack": (FORKED, ("P1", Action.RELEASE, 1), all_of("P2")),
    "bluetooth": (("P0", Action.FORK, 1), ("P0", Action.READ, 1), all_of("P1")),
    "token_ring": (FORKED, all_of("P2"), all_of("P1"), all_of("P3")),
    "wronglock_3": (FORKED, ("P1", Action.WRITE, 1), all_of("P2")),
    "stringbuffer": (
        ("P0", Action.FORK, 1),
        ("P0", Action.RELEASE, 1),
        ("P1", Action.RELEASE, 1),
        all_of("P0"),
    ),
    "carter01": (FORKED, ("P1", Action.RELEASE, 1), all_of("P2")),
}
HARMLESS: dict[str, Sequence[Phase]] = {"lazy01": (FORKED, all_of("P3"))}
"""Of the others the default order is one."""


def directed(phases: Sequence[Phase]) -> Callable[[Point], int]:
    """One phase after another, and then the default."""
    left = list(phases)

    def choose(point: Point) -> int:
        able = [pending.process for pending in point.enabled]
        while left:
            task, action, count = left[0]
            if not count or task not in able:
                del left[0]
                continue
            index = able.index(task)
            if point.enabled[index].action is action:
                left[0] = (task, action, count - 1)
            return index
        return point.default

    return choose


def runs_of(name: str, *schedules: Sequence[Phase]) -> list[Essence]:
    def work(runner: Runner, _report: Callable[[object], None]) -> list[Essence]:
        return [essence(runner.run(directed(each), max_steps=1000)) for each in schedules]

    return in_controller(work, Function(name, PROGRAMS[name]), Limits())


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_shows_its_bug_under_one_schedule_and_nothing_under_another(name: str) -> None:
    bug, harmless = runs_of(name, BUGS[name], HARMLESS.get(name, ()))

    expected = Kind.DEADLOCK if name in ("deadlock01", "carter01") else Kind.INVARIANT
    assert expected in {finding.kind for finding in bug.findings}, bug.output
    assert (harmless.completed, harmless.findings) == (True, ()), harmless.output


@pytest.mark.usefixtures("control")
def test_the_same_seeds_need_as_many_schedules_again() -> None:
    def measured() -> list[tuple[bool, int]]:
        found = searches(PROGRAMS["deadlock01"], "random", seeds=3, schedules=60)
        assert all(search.stops > search.runs and search.seconds > 0 for search in found)
        return [(search.found, search.runs) for search in found]

    first = measured()
    assert all(found for found, _ in first)
    assert len({runs for _, runs in first}) > 1
    assert measured() == first


# --- The search for one bug, over toys -----------------------------------------------------


class Third(Random):
    """The default order, but in the third run the other task moves second."""

    def choose(self, point: Point) -> int:
        return len(point.enabled) - 1 if (self._run, point.step) == (3, 1) else point.default


class Abandoning(Third):
    """The runs before that are abandoned."""

    def choose(self, point: Point) -> int:
        if self._run < 3:
            raise Pruned
        return super().choose(point)


class Ending(Third):
    """It has nothing left after two runs."""

    def begin(self) -> bool:
        return super().begin() and self._run <= 2


@pytest.mark.parametrize(
    ("strategy", "schedules", "outcome"),
    [
        (Third, 10, (True, 3)),
        (Abandoning, 10, (True, 3)),
        (Third, 3, (True, 3)),
        (Third, 2, (False, 2)),
        (Ending, 10, (False, 2)),
    ],
)
def test_every_run_counts_up_to_the_one_that_shows_the_bug(
    strategy: type[Random], schedules: int, outcome: tuple[bool, int]
) -> None:
    assert to_first_bug(ToyRunner(deadlock01()), strategy(0), schedules) == outcome


def test_a_lost_update_that_no_assertion_sees_is_not_the_bug() -> None:
    class Watched(ToyRunner):
        seen: set[Kind]

        def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
            trace = super().run(choose, max_steps=max_steps, with_lines=with_lines)
            self.seen = {finding.kind for finding in essence(trace).findings} | self.seen
            return trace

    runner = Watched(counter())
    runner.seen = set()

    assert to_first_bug(runner, Random(0), 20) == (False, 20)
    assert runner.seen == {Kind.LOST_UPDATE}


def test_a_run_that_cannot_be_judged_is_no_figure() -> None:
    def spins() -> Task:
        while not (yield read("flag")):
            pass

    with pytest.raises(LabError, match="run 1 was ended after 10000 steps"):
        to_first_bug(ToyRunner(Program({"P1": spins})), Random(0), 5)


# --- The table -----------------------------------------------------------------------------


def found(*runs: int) -> list[Search]:
    return [Search(found=True, runs=each, stops=100 * each, seconds=each / 20) for each in runs]


LOST = Search(found=False, runs=50)


def test_a_row_shows_the_means_beside_what_is_published_and_what_a_run_costs() -> None:
    row = {"random": found(20, 40), "dpor": [*found(4), LOST], "pos": [LOST], "auto": found(2, 3)}
    shown = line("lazy01", row)

    assert shown.split("|")[0].split() == ["lazy01", "30", "4.0", "1/2", "-", "0/1", "2.5*"]
    assert shown.split("|")[1].split() == ["21", "5", "5", "2", "6", "7"]
    assert line("lazy01", {"auto": found(20)}).split("|")[2].split() == ["100", "20"]
    assert len(heading(list(row)).splitlines()[0]) == len(shown)


def test_what_failed_and_what_nobody_published_stay_empty() -> None:
    shown = line("reorder_4", {"random": []})

    assert shown.split() == ["reorder_4", "error", "|", *["-"] * len(COLUMNS), "|", "-", "-"]


@pytest.mark.parametrize(
    ("program", "measured", "good"),
    [
        ("lazy01", found(2, 3), True),  # 2.5 is rounded to 2, as what is published is
        ("lazy01", found(3), False),
        ("lazy01", [*found(1), LOST], False),
        ("lazy01", [], False),
        ("reorder_4", found(1), False),
    ],
)
def test_as_good_as_the_best_published(program: str, measured: list[Search], good: bool) -> None:
    assert as_good(program, measured) is good


def test_the_summary_names_where_it_is_behind() -> None:
    rows = {
        "lazy01": {"auto": found(2)},
        "stack": {"auto": found(3)},
        "reorder_4": {"auto": found(1)},
        "account": {"random": found(1)},
    }

    assert summary(rows).endswith("figure on 1 of 2 programs; not on stack")
    assert summary({"account": rows["account"]}) == ""


def test_what_is_published_is_of_programs_that_are_there() -> None:
    assert PROGRAMS.keys() - PUBLISHED.keys() == {"reorder_4"}
    assert PUBLISHED.keys() <= PROGRAMS.keys()
    assert {len(figures) for figures in PUBLISHED.values()} == {len(COLUMNS)}
    assert (best("bluetooth"), best("reorder_4")) == (9, None)


# --- The command ---------------------------------------------------------------------------


def invoked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmarks.sct", *arguments])
    return command.main()


def test_it_measures_what_it_is_asked_to_and_skips_what_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str, int, int]] = []

    def searched(
        program: Callable[[], None], strategy: str, *, seeds: int, schedules: int
    ) -> list[Search]:
        asked.append((getattr(program, "__name__", ""), strategy, seeds, schedules))
        return found(7)

    monkeypatch.setattr(command, "searches", searched)
    options = ["--strategies", "random,luck", "--seeds", "2", "--schedules", "9"]

    assert invoked(monkeypatch, *options, "--programs", "stack,account") == 0
    assert asked == [("stack", "random", 2, 9), ("account", "random", 2, 9)]
    shown = capsys.readouterr().out
    assert "skipped: there is no strategy 'luck'" in shown
    assert shown.index("stack ") < shown.index("account ")


def test_an_error_costs_one_cell_and_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> list[Search]:
        raise LabError("the sandbox is gone")

    monkeypatch.setattr(command, "searches", fails)

    assert invoked(monkeypatch, "--strategies", "random", "--programs", "stack") == 3
    assert "stack with random: the sandbox is gone" in capsys.readouterr().out


def test_an_unknown_program_is_refused_with_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        invoked(monkeypatch, "--programs", "stuck")

    assert "no program stuck; there are: account, lazy01" in capsys.readouterr().err
