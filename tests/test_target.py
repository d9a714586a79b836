from __future__ import annotations

import functools
from pathlib import Path

import pytest

from lab.catalogue import UnknownName
from lab.run.limits import LabError
from lab.run.root import Command, Function
from lab.scenario import DeclarationError, scenario
from lab.search.token import Origin, Source
from lab.target import found_again, function, target
from lab.trace import Tally

GUARDED = "counter.posix_guarded"


def count() -> None:
    """Any function of a module."""


@scenario(expects=["lost-update"], zombie_after=0.25, time_limit=3.0)
def declared_here(writers: int = 2) -> Tally:
    """Declare a scenario where no catalogue looks."""
    return Tally(writers, writers)


class Shop:
    @staticmethod
    def opens() -> None:
        """A function that has a longer name."""


def test_a_scenario_is_found_by_its_id_with_what_was_set() -> None:
    wanted = target(GUARDED, {"writers": "2"})

    assert wanted.origin == Origin(Source.SCENARIO, (GUARDED,), (("writers", "2"),))
    assert wanted.name == GUARDED
    assert dict(wanted.parameters)["writers"] == "2"
    assert dict(wanted.parameters)["increments"] == "5"
    assert isinstance(wanted.program, Function)


def test_a_declared_function_brings_its_bounds_and_takes_settings() -> None:
    wanted = target(declared_here, {"writers": "7"})

    assert (wanted.limits.seconds, wanted.limits.zombie_after) == (3.0, 0.25)
    assert isinstance(wanted.program, Function)
    assert wanted.program.body() == Tally(7, 7)
    assert target(declared_here, time_limit=1.5).limits.seconds == 1.5


def test_one_that_is_declared_in_a_test_is_found_again_by_the_functions_name() -> None:
    wanted = target(declared_here, {"writers": "7"})

    assert wanted.origin.source is Source.FUNCTION
    assert found_again(wanted.origin).name == wanted.name
    assert dict(found_again(wanted.origin).parameters) == {"writers": "7"}


@pytest.mark.parametrize("body", [count, Shop.opens])
def test_a_function_is_found_again_by_module_and_name(body: object) -> None:
    wanted = target(body)  # type: ignore[arg-type]
    again = found_again(wanted.origin)

    assert isinstance(again.program, Function)
    assert again.program.body is body
    assert again.origin == wanted.origin


def test_a_command_is_its_words() -> None:
    wanted = target(["sh", "-c", "echo 'a  b'"])

    assert wanted.program == Command(("sh", "-c", "echo 'a  b'"))
    assert wanted.name == """sh -c 'echo '"'"'a  b'"'"''"""
    assert found_again(wanted.origin) == wanted


@pytest.mark.parametrize(
    "body", [lambda: None, functools.partial(count)], ids=["lambda", "partial"]
)
def test_a_function_without_a_name_of_its_own_must_be_given(body: object) -> None:
    origin = target(body).origin  # type: ignore[arg-type]

    with pytest.raises(LabError, match=r"which no name leads to; give it yourself: lab\.replay"):
        found_again(origin)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no.such.module:count", "there is no module no, here or installed"),
        ("tests.test_target:gone", "there is no function gone in tests.test_target"),
        ("tests.test_target:", "tests.test_target: lacks the name of the function"),
        (":count", ":count lacks the name of the module"),
        ("tests.test_target:GUARDED", "is no function"),
        ("__main__:count", "which no name leads to"),
    ],
)
def test_a_function_that_is_gone_is_said_to_be(name: str, words: str) -> None:
    with pytest.raises(LabError, match=words):
        found_again(Origin(Source.FUNCTION, (name,)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import sys\n\nint('x')\n", r"cannot be imported: ValueError: .*'x' \(broken.py:3\)"),
        ("import no_such_thing\n", r"broken cannot be imported: No module named 'no_such_thing'"),
    ],
    ids=["raises", "needs what is not there"],
)
def test_a_module_that_cannot_be_imported_says_where(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(LabError, match=words):
        function("broken:body")


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"nearest: counter\.posix_guarded"):
        target("counter.posix_gaurded")
    with pytest.raises(UnknownName, match="counter is a family"):
        target("counter")
    with pytest.raises(DeclarationError, match="writers takes a whole number"):
        target(GUARDED, {"writers": "two"})
    with pytest.raises(ValueError, match="only a scenario takes parameters"):
        target(count, {"writers": "2"})
    with pytest.raises(ValueError, match="at least the program's name"):
        target([])


def test_a_scenario_that_lacks_something_says_so() -> None:
    @scenario(expects=["leak"], needs=["no_such_module"])
    def needy() -> None: ...

    assert target(needy).lacking == ("no_such_module",)
