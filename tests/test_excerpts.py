"""The lines of a program round its steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.excerpts import excerpts
from lab.trace import Action, Event


def at(where: str) -> Event:
    return Event(1, "P1", Action.WRITE, "store", where=where)


def test_the_lines_at_a_step_and_next_to_it_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "body.py"
    file.write_text("".join(f"line {number}\n" for number in range(1, 21)))
    shown = excerpts([at(f"{file}:10"), at(f"{file}:20")])
    assert shown == {str(file): {n: f"line {n}" for n in (8, 9, 10, 11, 12, 18, 19, 20)}}


def test_bytes_that_are_no_text_are_replaced_and_long_lines_cut(tmp_path: Path) -> None:
    file = tmp_path / "body.py"
    file.write_bytes(b"\xff" + b"x" * 1000)
    assert excerpts([at(f"{file}:1")]) == {str(file): {1: "\ufffd" + "x" * 199}}


def test_an_installed_scenario_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (lines,) = excerpts([at("scenarios/counter.py:1")]).values()
    assert lines[1].startswith('"""')


@pytest.mark.parametrize("where", ["", "gone.py:3", "no line", "/:1"])
def test_what_cannot_be_read_is_left_out(where: str) -> None:
    assert excerpts([at(where)]) == {}
