from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.search.replay import Replay
from lab.search.schedule import Recorder, Schedule
from lab.search.strategy import Pending, Point
from lab.trace import Action
from tests.search.models import counter, deadlock01
from tests.search.toy import Program, Run, run

untimed = settings(deadline=None)

seeds = st.integers(0, 10_000)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    steps = draw(st.lists(st.integers(0, 500), unique=True, max_size=40).map(sorted))
    names = st.sampled_from(["P0", "P1", "P1.2", "P17"])
    deviations = tuple((step, draw(names)) for step in steps)
    return Schedule(deviations, draw(st.integers(0, len(deviations))))


def _recorded(program: Program, seed: int) -> tuple[Run, Recorder]:
    generator = random.Random(seed)  # noqa: S311
    recorder = Recorder(lambda point: generator.randrange(len(point.enabled)))
    return run(program, recorder), recorder


def test_the_default_order_deviates_nowhere_and_preempts_nobody() -> None:
    recorder = Recorder(lambda point: point.default)

    run(counter(), recorder)

    assert recorder.schedule == Schedule()


@untimed
@given(seeds, st.sampled_from([counter(), counter(2, 2, guarded=True), deadlock01()]))
def test_a_recorded_schedule_leads_to_the_same_run(seed: int, program: Program) -> None:
    recorded, recorder = _recorded(program, seed)

    again = Recorder(Replay(recorder.schedule).choose)

    assert run(program, again).trace == recorded.trace
    assert again.schedule == recorder.schedule


@untimed
@given(seeds)
def test_a_preemption_is_a_deviation_from_a_task_that_could_have_gone_on(seed: int) -> None:
    recorded, recorder = _recorded(counter(3, 2, guarded=True), seed)
    left = [
        point
        for point, choice in recorded.choices
        if point.last in [pending.process for pending in point.enabled]
        and point.enabled[choice].process != point.last
    ]

    assert recorder.schedule.preemptions == len(left)


def test_only_the_last_choice_at_a_step_counts_for_the_others_were_taken_back() -> None:
    one, two, three = (Pending(name, Action.ACQUIRE, "lock") for name in ("P1", "P2", "P3"))
    answers = iter([1, 0])
    recorder = Recorder(lambda _: next(answers))

    recorder(Point(0, (one, two, three), 0, "P1"))  # P2, who turns out to be blocked
    recorder(Point(0, (one, three), 0, "P1"))

    assert recorder.schedule == Schedule()
    assert recorder.operations(1) == (one,)
    assert recorder.operations(0) == ()


def test_a_choice_that_is_not_there_is_refused_before_it_is_recorded() -> None:
    recorder = Recorder(lambda _: 1)

    with pytest.raises(IndexError, match="choice 1 of 1 at step 4"):
        recorder(Point(4, (Pending("P1", Action.READ, "n"),), 0, "P1"))
    assert recorder.operations(9) == ()


@pytest.mark.parametrize(
    ("simpler", "other"),
    [
        (Schedule(), Schedule(((0, "P2"),))),
        (Schedule(((3, "P2"), (5, "P3"), (9, "P4"))), Schedule(((3, "P2"),), 1)),
        (Schedule(((3, "P2"), (5, "P2")), 1), Schedule(((3, "P2"), (5, "P3")), 1)),
        (Schedule(((3, "P2"), (5, "P2")), 1), Schedule(((3, "P2"), (4, "P2"), (5, "P2")), 1)),
        (Schedule(((3, "P2"), (5, "P2")), 1), Schedule(((3, "P2"), (6, "P2")), 1)),
        (Schedule(((3, "P1"),)), Schedule(((3, "P2"),))),
    ],
    ids=["nothing", "preemptions", "processes", "steps", "earlier", "any order at all"],
)
def test_the_simpler_of_two_schedules_is_the_lesser(simpler: Schedule, other: Schedule) -> None:
    assert simpler < other
    assert not other < simpler
    assert other > simpler


@untimed
@given(st.lists(schedules(), min_size=1))
def test_simplicity_is_a_total_order(many: list[Schedule]) -> None:
    backwards = many[::-1]

    assert sorted(many) == sorted(backwards)
    assert min(many).preemptions == min(each.preemptions for each in many)


@pytest.mark.parametrize(
    ("deviations", "preemptions"),
    [(((3, "P1"), (3, "P2")), 0), (((3, "P1"), (2, "P2")), 0), (((3, "P1"),), 2), ((), -1)],
)
def test_a_schedule_that_no_run_could_have_is_refused(
    deviations: tuple[tuple[int, str], ...], preemptions: int
) -> None:
    with pytest.raises(ValueError, match=r"ascend|preemptions in"):
        Schedule(deviations, preemptions)
