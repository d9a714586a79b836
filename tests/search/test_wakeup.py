from __future__ import annotations

from lab.search.dependence import Footprint, Touch
from lab.search.wakeup import Beginning, Branch, beginning_of, insert


def _on(task: str, thing: str, *, changes: bool = True) -> Footprint:
    return Footprint(task, (Touch(thing, changes=changes),))


def _beginning(*steps: tuple[str, str]) -> Beginning:
    """Steps that write things, each after those before it on the same thing or by the same task."""
    past: list[int] = []
    for index, (task, thing) in enumerate(steps):
        own = 0
        for earlier in range(index):
            if task == steps[earlier][0] or thing == steps[earlier][1]:
                own |= 1 << earlier | past[earlier]
        past.append(own)
    return Beginning([t for t, _ in steps], [_on(t, thing) for t, thing in steps], past)


def _shape(tree: list[Branch]) -> list[object]:
    return [(branch.task, _shape(branch.then)) for branch in tree]


def test_what_is_planned_first_is_one_branch() -> None:
    tree: list[Branch] = []
    insert(tree, _beginning(("P1", "a"), ("P2", "b"), ("P1", "b")))

    assert _shape(tree) == [("P1", [("P2", [("P1", [])])])]


def test_the_same_in_another_order_is_planned_already() -> None:
    tree: list[Branch] = []
    insert(tree, _beginning(("P1", "a"), ("P2", "b")))
    insert(tree, _beginning(("P2", "b"), ("P1", "a")))

    assert _shape(tree) == [("P1", [("P2", [])])]


def test_another_order_of_dependent_steps_is_another_plan() -> None:
    tree: list[Branch] = []
    insert(tree, _beginning(("P1", "a"), ("P2", "a")))
    insert(tree, _beginning(("P2", "a"), ("P1", "a")))

    assert _shape(tree) == [("P1", [("P2", [])]), ("P2", [("P1", [])])]


def test_a_common_beginning_is_shared() -> None:
    tree: list[Branch] = []
    insert(tree, _beginning(("P1", "a"), ("P2", "b"), ("P3", "b")))
    insert(tree, _beginning(("P1", "a"), ("P3", "b"), ("P2", "b")))

    assert _shape(tree) == [("P1", [("P2", [("P3", [])]), ("P3", [("P2", [])])])]


def test_a_plan_that_begins_with_a_shorter_one_is_covered() -> None:
    tree: list[Branch] = []
    insert(tree, _beginning(("P2", "b")))
    insert(tree, _beginning(("P1", "a"), ("P2", "b"), ("P1", "b")))

    assert _shape(tree) == [("P2", [])]


def test_a_step_can_begin_if_nothing_before_it_must_come_first() -> None:
    beginning = _beginning(("P1", "a"), ("P2", "b"), ("P3", "a"), ("P2", "a"))

    assert beginning.can_begin("P1", _on("P1", "a")) == 0
    assert beginning.can_begin("P2", _on("P2", "b")) == 1
    assert beginning.can_begin("P3", _on("P3", "a")) is None
    assert beginning.can_begin("P4", _on("P4", "c")) == -1
    assert beginning.can_begin("P4", _on("P4", "b")) is None


def test_a_step_that_was_taken_is_waited_for_no_longer() -> None:
    rest = _beginning(("P1", "a"), ("P2", "b"), ("P3", "a")).without(0)

    assert rest.tasks == ["P2", "P3"]
    assert rest.can_begin("P3", _on("P3", "a")) == 1


def test_steps_of_a_run_keep_their_order_as_a_beginning() -> None:
    whole = _beginning(("P1", "a"), ("P2", "b"), ("P3", "a"), ("P2", "a"))
    part = beginning_of(whole.tasks, whole.footprints, whole.past, 0b1101)

    assert part.tasks == ["P1", "P3", "P2"]
    assert part.past == [0, 0b1, 0b11]
