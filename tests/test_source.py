"""The code of a scenario: which parts of its module are its own, and how a fix differs."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.catalogue import catalogue, select
from lab.scenario import Scenario
from lab.source import Difference, difference, explanation, place, story

QUEUE = '''
    """Queues that stay.

    They have names.
    """

    import contextlib

    from lab.scenario import scenario


    @scenario(expects=["leak"])
    def left_behind(size: int = 1) -> None:
        """A queue stays.

        It is never removed.
        """
        with _queue() as queue:
            _fill(queue)


    @scenario(fixes="left_behind")
    def removed(size: int = 1) -> None:
        """It is removed."""
        with _queue() as queue:
            _fill(queue)
            _remove(queue)


    @scenario(expects=["message-loss"])
    def forgotten() -> None:
        """Messages stay."""
        with _queue():
            pass


    @scenario(fixes="forgotten")
    def drained() -> None:
        with _queue():
            pass


    def _remove(queue: list) -> None:
        def one() -> None:
            Unlinked(queue)

        one()


    class Unlinked:
        def __init__(self, queue: list) -> None:
            queue.clear()


    def _fill(queue: list) -> None:
        queue.append(1)


    @contextlib.contextmanager
    def _queue():
        yield _made()


    def _made() -> list:
        return []
'''


@pytest.fixture
def scenarios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Scenario]]:
    name = f"package_of_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "queue.py").write_text(textwrap.dedent(QUEUE))
    monkeypatch.syspath_prepend(tmp_path)
    return lambda *names: list(select([f"queue.{each}" for each in names], name))


def compared(scenarios: Callable[..., list[Scenario]]) -> Difference:
    bug, fix, *others = scenarios("left_behind", "removed", "forgotten", "drained")
    return difference(bug, fix, others)


def test_the_bodies_are_compared_without_what_is_told_in_words(
    scenarios: Callable[..., list[Scenario]],
) -> None:
    lines = compared(scenarios).lines
    assert lines[:5] == (
        "-def left_behind(size: int = 1) -> None:",
        "+def removed(size: int = 1) -> None:",
        "     with _queue() as queue:",
        "         _fill(queue)",
        "+        _remove(queue)",
    )


def test_what_belongs_to_bug_and_fix_alone_is_shown_however_it_is_reached(
    scenarios: Callable[..., list[Scenario]],
) -> None:
    lines = compared(scenarios).lines
    assert "+def _remove(queue: list) -> None:" in lines
    assert "+class Unlinked:" in lines
    assert " def _fill(queue: list) -> None:" in lines
    # In the order of the module.
    assert lines.index("+class Unlinked:") < lines.index(" def _fill(queue: list) -> None:")


def test_what_others_of_the_family_use_too_is_named(
    scenarios: Callable[..., list[Scenario]],
) -> None:
    found = compared(scenarios)
    assert found.shared == ("_queue", "_made")
    assert not any("def _queue" in line or "def _made" in line for line in found.lines)


def test_alone_in_its_family_a_case_is_shown_whole(
    scenarios: Callable[..., list[Scenario]],
) -> None:
    bug, fix = scenarios("left_behind", "removed")
    found = difference(bug, fix, [])
    assert found.shared == ()
    assert " @contextlib.contextmanager" in found.lines


def test_equal_code_is_shown_all_the_same(scenarios: Callable[..., list[Scenario]]) -> None:
    bug, _ = scenarios("left_behind", "removed")
    found = difference(bug, bug, [])
    assert found.lines[0] == " def left_behind(size: int = 1) -> None:"


def test_a_docstring_is_the_explanation_and_a_modules_the_story(
    scenarios: Callable[..., list[Scenario]],
) -> None:
    bug, _ = scenarios("left_behind", "removed")
    (silent,) = scenarios("drained")
    assert explanation(bug) == "A queue stays.\n\nIt is never removed."
    assert explanation(silent) == ""
    assert story([bug]) == "Queues that stay.\n\nThey have names."
    assert story([]) == ""


def test_each_fix_of_the_catalogue_differs_from_its_bug() -> None:
    everything = {scenario.id: scenario for scenario in catalogue()}
    fixes = [scenario for scenario in everything.values() if scenario.fixes]
    for fix in fixes:
        lines = difference(everything[fix.fixes], fix, []).lines
        signs = {line[:1] for line in lines}
        assert {"-", "+"} <= signs, fix.id


def test_a_program_begins_where_its_steps_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scenarios.counter import posix_guarded as guarded

    monkeypatch.chdir(tmp_path)  # an environment of tox lies below the checkout
    here = place(guarded)
    assert re.fullmatch(r"scenarios/counter\.py:\d+", here)
    assert place(functools.partial(guarded, writers=2)) == here
    assert place(len) == ""
