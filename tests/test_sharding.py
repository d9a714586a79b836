"""However many jobs: one answer. Over toys, whose shards come in the worst order."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.exploration import explore, explored
from lab.finding import Result, Verdict
from lab.loop import Plan
from lab.run.limits import LabError
from lab.search.schedule import Choose
from lab.target import target
from lab.trace import Trace
from tests.search import stand_in
from tests.search.models import account, counter, deadlock01, wronglock
from tests.search.toy import Program, ToyRunner
from tests.test_loop import Abandoning

Control = Callable[..., None]


def body() -> None:
    """What would be run, if the toy were not."""


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    return functools.partial(stand_in.control, monkeypatch)


def _answer(**options: Any) -> Result:
    return dataclasses.replace(explore(body, strategy="random", **options), seconds=0.0)


@pytest.mark.parametrize("stop_at_first", [False, True])
@pytest.mark.parametrize(
    "program",
    [counter(), deadlock01(), account(), wronglock(3), counter(guarded=True)],
    ids=["counter", "deadlock01", "account", "wronglock", "guarded"],
)
def test_the_whole_answer_is_the_same_for_any_number_of_jobs(
    program: Program, stop_at_first: bool, control: Control
) -> None:
    control(program)
    alone, *others = (
        _answer(schedules=23, seed=2, stop_at_first=stop_at_first, jobs=jobs)
        for jobs in (1, 2, 3, 50)
    )

    assert others == [alone] * 3


def test_what_is_saved_comes_first_and_once(control: Control, tmp_path: Path) -> None:
    control(counter())
    explore(body, schedules=3, saved=tmp_path)
    alone = _answer(schedules=9, seed=4, saved=tmp_path)
    divided = _answer(schedules=9, seed=4, saved=tmp_path, jobs=3)
    first = explore(body, schedules=9, saved=tmp_path, jobs=3, stop_at_first=True)

    assert divided == alone
    assert divided.runs == 10
    assert first.runs == 1


def test_a_strategy_that_learns_is_not_divided_and_says_so(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    control(counter(4, 1, guarded=True))
    monkeypatch.setattr("lab.exploration.strategy_named", lambda *_, **__: Abandoning(4))
    result = explore(body, jobs=2)

    assert (result.verdict, result.runs) == (Verdict.PROVED, 2)
    assert any(note.startswith("not divided among 2 jobs") for note in result.notes)


def test_no_jobs_at_all_make_no_sense() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        explore(body, jobs=0)


def failing(error: BaseException) -> type[ToyRunner]:
    class Failing(ToyRunner):
        runs = 0

        def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
            self.runs += 1
            if self.runs > 5:
                raise error
            return super().run(choose, max_steps=max_steps, with_lines=with_lines)

    return Failing


def test_ctrl_c_keeps_what_any_shard_had_found(control: Control) -> None:
    """The last shard had made five runs; what the first would have made is missing."""
    control(counter(), failing(KeyboardInterrupt()))
    results = explored(target(body), Plan(schedules=100), strategy="random", seed=0, jobs=2)
    result = next(results)

    assert (result.verdict, result.runs) == (Verdict.FAILED, 5)
    assert result.notes == ("stopped by Ctrl-C after 5 of 100 schedules",)
    with pytest.raises(KeyboardInterrupt):
        next(results)


def test_a_lab_that_fails_in_one_shard_tells_what_the_others_found(control: Control) -> None:
    control(counter(), failing(LabError("the sandbox is gone")))
    result = explore(body, jobs=2)

    assert result.verdict is Verdict.FAILED
    assert result.notes == ("the search ended after 5 schedules: the sandbox is gone",)
