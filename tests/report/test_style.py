"""What a stream can show, and what no stream must get."""

from __future__ import annotations

import io
import os
import termios
from pathlib import Path

import pytest

from lab.report.style import PLAIN, Style, columns, cut, printable, wrapped


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def terminal(encoding: str = "utf-8") -> Terminal:
    return Terminal(io.BytesIO(), encoding=encoding)


def test_a_terminal_gets_colour() -> None:
    assert Style.of(terminal(), {"TERM": "xterm"}).colour


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_the_environment_forbids_colour(environment: dict[str, str]) -> None:
    assert not Style.of(terminal(), environment).colour


def test_an_empty_no_color_forbids_nothing() -> None:
    assert Style.of(terminal(), {"NO_COLOR": ""}).colour


def test_a_file_gets_no_colour() -> None:
    assert not Style.of(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), {}).colour


def test_an_encoding_without_the_glyphs_gets_ascii_ones() -> None:
    style = Style.of(terminal("ascii"), {})
    marks = style.bad + style.good + style.unknown + style.arrow + style.bar + style.rule
    assert marks.isascii()
    assert len({style.bad, style.good, style.unknown}) == 3


def test_glyphs_differ_so_that_no_colour_is_needed() -> None:
    assert len({PLAIN.bad, PLAIN.good, PLAIN.unknown}) == 3


def test_paint_leaves_the_text_alone_without_colour() -> None:
    assert PLAIN.paint("leak", "red") == "leak"
    assert Style(colour=True).paint("leak", "red", "bold") == "\x1b[31;1mleak\x1b[0m"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("one\ntwo\r", "one\\ntwo\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edcba", "abc\\u202edcba"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("grün ✓ 日本", "grün ✓ 日本"),
    ],
)
def test_what_could_drive_a_terminal_is_written_out(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


def test_columns_count_wide_and_combining_letters() -> None:
    assert columns("日本") == 4
    assert columns("e\u0301") == 1


def test_a_long_text_is_cut_with_a_sign_that_it_was() -> None:
    assert cut("short", 10) == "short"
    assert cut("far too long", 10) == "far too..."
    assert columns(cut("日本" * 20, 11)) <= 11


def test_wrapped_lines_keep_their_indent_and_the_width() -> None:
    lines = wrapped("word " * 40, indent="  → ", hang="    ").splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("  → word")
    assert all(line.startswith("    word") for line in lines[1:])
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(("columns", "width"), [(40, 80), (80, 80), (120, 120), (500, 140)])
def test_a_wide_terminal_gives_the_table_more_room(columns: int, width: int) -> None:
    controller, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    with os.fdopen(controller), os.fdopen(terminal, "w") as stream:
        assert Style.of(stream, {}).width == width


def test_what_is_no_terminal_has_eighty_columns(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        assert Style.of(stream, {"COLUMNS": "200"}).width == 80
