"""How text may look on a given stream: colours, glyphs, width; and what must never reach it.

The text of a report is the same everywhere. Glyphs carry its meaning and colour only repeats it,
so nothing is lost in a pytest section, in a JUnit file or to a colour-blind reader.
"""

from __future__ import annotations

import os
import textwrap
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH = 80
"""Columns of every report: what a terminal, a mail and a CI log all show without wrapping."""

_WIDEST = 140
_CODES = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


@dataclass(frozen=True)
class Style:
    """What a stream can show."""

    colour: bool = False
    unicode: bool = True
    width: int = WIDTH
    """Columns of a table of steps; text stays at 80, which is what reads well."""

    @property
    def bad(self) -> str:
        """The mark of a failure."""
        return "✗" if self.unicode else "x"

    @property
    def good(self) -> str:
        """The mark of what is as it should be."""
        return "✓" if self.unicode else "+"

    @property
    def unknown(self) -> str:
        """The mark of what was not decided."""
        return "?"

    @property
    def arrow(self) -> str:
        """What stands before an advice."""
        return "→" if self.unicode else "->"

    @property
    def bar(self) -> str:
        """What separates two columns."""
        return "│" if self.unicode else "|"

    @property
    def switch(self) -> str:
        """What stands where one process is left and another goes on."""
        return "»" if self.unicode else ">>"

    @property
    def rule(self) -> str:
        """What a horizontal line is made of."""
        return "─" if self.unicode else "-"

    def paint(self, text: str, *looks: str) -> str:
        """The text in a colour or weight, where the stream shows them.

        Pad before painting: the codes count as characters but take no column.
        """
        if not self.colour or not text:
            return text
        return f"\x1b[{';'.join(_CODES[look] for look in looks)}m{text}\x1b[0m"

    @classmethod
    def of(cls, stream: TextIO, environment: Mapping[str, str] = os.environ) -> Style:
        """What this stream can show: colour on a terminal only, unless NO_COLOR forbids it."""
        colour = (
            stream.isatty()
            and not environment.get("NO_COLOR")
            and environment.get("TERM", "") != "dumb"
        )
        width = _room(stream) if stream.isatty() else WIDTH
        try:
            "✗✓→│─»".encode(stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return cls(colour=colour, unicode=False, width=width)
        return cls(colour=colour, width=width)


def _room(stream: TextIO) -> int:
    """The columns of a terminal, within what can be read in one glance."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal after all, or a closed one
        return WIDTH
    return min(max(columns, WIDTH), _WIDEST)


PLAIN = Style()
"""No colour: for text that is kept in a file or handed to another tool."""


def printable(text: str) -> str:
    r"""The text with everything that could drive a terminal written out: ESC as \x1b.

    Names, commands and output come from the programs under test. Unescaped they could recolour,
    rewrite or (with the marks for writing direction) reorder the report about them.
    """
    return "".join(
        character if character.isprintable() else _written_out(character) for character in text
    )


def _written_out(character: str) -> str:
    number = ord(character)
    # Python smuggles a byte that is no UTF-8 through text as a surrogate: show the byte.
    if 0xDC80 <= number <= 0xDCFF:  # noqa: PLR2004  # the range that PEP 383 sets aside
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def columns(text: str) -> int:
    """How many terminal columns an escaped text takes: wide letters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def wrapped(text: str, *, indent: str = "  ", hang: str | None = None, width: int = WIDTH) -> str:
    """The text, escaped, in lines of at most `width`; `hang` begins every line but the first."""
    return "\n".join(
        textwrap.wrap(
            printable(text),
            width,
            initial_indent=indent,
            subsequent_indent=indent if hang is None else hang,
            break_on_hyphens=False,
        )
    )


def cut(text: str, width: int) -> str:
    """The escaped text on one line of at most `width` columns, its end given up if it must."""
    line = printable(text)
    if columns(line) <= width:
        return line
    # From the front: what a program says may be long, and is cut in every one of many lines.
    end = taken = 0
    while end < len(line) and (taken := taken + columns(line[end])) <= width - 3:
        end += 1
    return f"{line[:end]}..."
