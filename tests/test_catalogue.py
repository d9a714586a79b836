"""Discovery: which scenarios a package holds, and what a user may call them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from lab.catalogue import BrokenModule, UnknownName, cases, catalogue, missing, select
from lab.scenario import DeclarationError, Scenario, declared, scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

QUEUE = """
    from lab.scenario import scenario

    @scenario(expects=["leak"])
    def left_behind() -> None:
        "A queue stays."

    @scenario(expects=["message-loss"])
    def forgotten() -> None:
        "Messages stay."

    @scenario(fixes="left_behind")
    def removed() -> None:
        "It is removed."

    @scenario(fixes="left_behind")
    def drained() -> None:
        "It is drained."
"""
COUNTER = """
    from lab.scenario import scenario

    @scenario(expects=["lost-update"])
    def unguarded() -> None:
        "It loses."

    def helper() -> None:
        "Not a scenario."
"""


@pytest.fixture
def make_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, str]], str]:
    """Write modules into a package of a name of its own, so that none is taken from a cache."""

    def make(modules: dict[str, str]) -> str:
        name = f"package_of_{tmp_path.name}"
        folder = tmp_path / name
        folder.mkdir()
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(tmp_path)
        return name

    return make


def ids(scenarios: Sequence[Scenario]) -> list[str]:
    return [each.id for each in scenarios]


def test_scenarios_come_by_family_then_in_order_of_definition(
    make_package: Callable[[dict[str, str]], str],
) -> None:
    package = make_package({"queue": QUEUE, "counter": COUNTER})
    assert ids(catalogue(package)) == [
        "counter.unguarded",
        "queue.left_behind",
        "queue.forgotten",
        "queue.removed",
        "queue.drained",
    ]


def test_a_scenario_that_a_module_imports_stays_with_its_own_module(
    make_package: Callable[[dict[str, str]], str],
) -> None:
    package = make_package({"counter": COUNTER, "other": "from .counter import unguarded"})
    assert ids(catalogue(package)) == ["counter.unguarded"]


def test_a_module_with_an_underscore_is_not_looked_into(
    make_package: Callable[[dict[str, str]], str],
) -> None:
    package = make_package({"counter": COUNTER, "_helper": "raise RuntimeError"})
    assert ids(catalogue(package)) == ["counter.unguarded"]


def test_a_module_that_cannot_be_imported_is_not_passed_over(
    make_package: Callable[[dict[str, str]], str],
) -> None:
    package = make_package({"counter": COUNTER, "redis_lock": "import no_such_library"})
    with pytest.raises(BrokenModule, match=r"redis_lock cannot be imported: .*no_such_library"):
        catalogue(package)


def test_a_fix_of_a_bug_that_is_not_there_is_refused_with_the_nearest(
    make_package: Callable[[dict[str, str]], str],
) -> None:
    package = make_package({"queue": QUEUE.replace('fixes="left_behind"', 'fixes="left_behnid"')})
    with pytest.raises(DeclarationError, match=r"left_behnid.*nearest: queue\.left_behind"):
        catalogue(package)


def test_no_names_select_everything(make_package: Callable[[dict[str, str]], str]) -> None:
    package = make_package({"queue": QUEUE, "counter": COUNTER})
    assert select([], package) == catalogue(package)


def test_a_family_selects_all_of_it_and_nothing_twice(
    make_package: Callable[[dict[str, str]], str],
) -> None:
    package = make_package({"queue": QUEUE, "counter": COUNTER})
    chosen = select(["queue.drained", "queue", "queue.drained"], package)
    assert ids(chosen) == [
        "queue.drained",
        "queue.left_behind",
        "queue.forgotten",
        "queue.removed",
    ]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("queue.dranied", "queue.drained"),
        ("quue", "queue"),
        ("unguarded", "counter.unguarded"),
        ("Counter.Unguarded", "counter.unguarded"),
    ],
)
def test_an_unknown_name_gets_the_nearest_ones(
    make_package: Callable[[dict[str, str]], str], name: str, nearest: str
) -> None:
    package = make_package({"queue": QUEUE, "counter": COUNTER})
    with pytest.raises(UnknownName) as refusal:
        select([name], package)
    text = str(refusal.value)
    assert text.startswith(f"there is no scenario {name!r}; nearest: {nearest}")
    assert "`lab list` shows all" in text


def test_a_name_like_no_other_gets_no_guess(
    make_package: Callable[[dict[str, str]], str],
) -> None:
    package = make_package({"counter": COUNTER})
    with pytest.raises(UnknownName, match="'zzz'; `lab list` shows all"):
        select(["zzz"], package)


def test_a_bug_is_shown_with_its_fixes(make_package: Callable[[dict[str, str]], str]) -> None:
    package = make_package({"queue": QUEUE})
    first, second = cases(catalogue(package))
    assert ids(first.members) == ["queue.left_behind", "queue.removed", "queue.drained"]
    assert ids(second.members) == ["queue.forgotten"]


def test_fixes_without_their_bug_are_shown_together(
    make_package: Callable[[dict[str, str]], str],
) -> None:
    package = make_package({"queue": QUEUE})
    (case,) = cases(select(["queue.drained", "queue.removed"], package))
    assert case.bug is None
    assert case.family == "queue"
    assert ids(case.members) == ["queue.drained", "queue.removed"]


def test_needs_are_libraries_or_programs() -> None:
    @scenario(
        expects=["leak"], needs=["json", "sh", "no_such_library", "no.such", "no-such-program"]
    )
    def needy() -> None:
        """Needs much."""

    found = declared(needy)
    assert found
    assert missing(found) == ("no_such_library", "no.such", "no-such-program")


def test_the_catalogue_of_this_floor_holds_a_fix_for_every_bug() -> None:
    everything = cases(catalogue())
    assert {case.family for case in everything} >= {"counter", "fifo", "message_queue", "signal"}
    assert [case.bug.id for case in everything if case.bug and not case.fixes] == []
