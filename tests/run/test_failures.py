from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.run.failures import failure


def caught(body: Callable[[], object]) -> Exception:
    try:
        body()
    except Exception as error:  # noqa: BLE001  # whatever it is
        return error
    pytest.fail("nothing was raised")


def here(line: int) -> str:
    return f"{Path(__file__).relative_to(Path.cwd())}:{line}"


def test_an_exception_is_told_by_type_message_and_line() -> None:
    def body() -> None:
        raise ValueError("why")

    told = failure(caught(body))

    assert (told.type, told.message, told.is_assertion) == ("ValueError", "why", False)
    assert told.where == here(body.__code__.co_firstlineno + 1)
    assert told.traceback.endswith("ValueError: why\n")


def test_an_assertion_is_told_as_one() -> None:
    def body() -> None:
        assert os.getpid() < 0, "it is there"

    assert failure(caught(body)).is_assertion


def test_the_line_is_the_programs_when_the_standard_library_raised() -> None:
    def body() -> None:
        json.loads("{")

    told = failure(caught(body))

    assert told.where == here(body.__code__.co_firstlineno + 1)


def test_the_line_is_an_installed_programs_when_there_is_no_other(tmp_path: Path) -> None:
    installed = tmp_path / "site-packages" / "program.py"
    installed.parent.mkdir()
    installed.write_text("def body():\n    raise ValueError\n")
    names: dict[str, Callable[[], None]] = {}
    exec(compile(installed.read_text(), str(installed), "exec"), names)  # noqa: S102
    error = caught(names["body"])
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # without this very file

    assert failure(error).where == f"{installed}:2"


def test_a_working_directory_that_is_gone_hides_nothing(tmp_path: Path) -> None:
    before = os.getcwd()
    place = tmp_path / "place"
    place.mkdir()
    os.chdir(place)
    place.rmdir()
    try:
        told = failure(caught(lambda: 1 / 0))
    finally:
        os.chdir(before)

    assert told.type == "ZeroDivisionError"
    assert told.where.startswith(__file__)


def test_an_exception_whose_text_raises_is_told_all_the_same() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def body() -> None:
        raise MuteError

    told = failure(caught(body))

    assert told.type == "MuteError"
    assert "RuntimeError" in told.message


def test_long_texts_are_cut_in_the_middle() -> None:
    def body() -> None:
        raise ValueError("a" + "x" * 1_000_000 + "z")

    told = failure(caught(body))

    for text in (told.message, told.traceback.strip()):
        assert len(text) < 70_000
        assert "characters are cut here" in text
        assert text.endswith("z")


def test_deep_recursion_is_told() -> None:
    def body() -> None:
        body()

    assert failure(caught(body)).type == "RecursionError"
