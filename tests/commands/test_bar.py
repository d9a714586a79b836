from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.commands.terminal import Terminal

WORDS = ("run", "counter.posix_guarded", "--runs", "3")


def test_on_a_terminal_rich_draws_a_bar_and_takes_it_away(tmp_path: Path) -> None:
    if importlib.util.find_spec("rich") is None:
        pytest.skip("rich is not here: the extra `rich` has it")
    terminal = Terminal(*WORDS, at=tmp_path)
    assert terminal.close() == 0
    assert re.search(r"counter\.posix_guarded: run 2 of 3 .*━", terminal.text)
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h") == 1  # the cursor
    assert terminal.text.rindex("━") < terminal.text.index("✓ PASSED")


def test_ctrl_c_leaves_no_terminal_without_a_cursor(tmp_path: Path) -> None:
    if importlib.util.find_spec("rich") is None:
        pytest.skip("rich is not here: the extra `rich` has it")
    terminal = Terminal("run", "counter.posix_guarded", "--runs", "1000", at=tmp_path)
    terminal.until(r"run \d+ of 1000")
    terminal.type(b"\x03")
    assert terminal.close() == 130
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")


def test_a_terminal_that_draws_nothing_gets_a_line(tmp_path: Path) -> None:
    terminal = Terminal(*WORDS, at=tmp_path, term="dumb")
    assert terminal.close() == 0
    assert "counter.posix_guarded: run 2 of 3" in terminal.text
    assert "━" not in terminal.text
