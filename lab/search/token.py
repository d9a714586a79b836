"""A token: one run in a short text that can be pasted into a command line, a bug report or a test.

It names the program, says where the run left the default order, and carries what it takes to
notice that a replay is not the same run: what was done at each step, in one letter, and a
fingerprint of the whole trace. So a replay that goes astray is an error and never a pass.

    1 + base64url( CRC-32 + deflate( JSON ) )

The leading digit is the format; being no "-", it also keeps a command line from taking the token
for an option. Everything else is compressed, for a token is as long as its schedule: a few dozen
characters once that is shrunk.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
import platform
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.search.replay import sameness
from lab.search.schedule import Schedule
from lab.trace import Action, Trace

_FORMAT = "1"
_CHECKSUM = 4
_LONGEST = 1 << 24
"""Bytes of JSON that a token may unfold to: deflate can make a gigabyte of a megabyte."""
# What most tokens say: deflate finds it here and leaves it out. Neither this nor the letters are
# ever changed, for old tokens are read by them.
_COMMON = (
    b'"aarch64 3.12"]"x86_64 3.13"]"x86_64 3.11"]["function",["tests.command",["sh","-c","python3"'
    b'],[["increments","writers","["P0","P3","P2","P1"],"["scenario",["'
)
_LETTERS = {
    Action.READ: "r",
    Action.WRITE: "w",
    Action.UPDATE: "u",
    Action.ACQUIRE: "a",
    Action.RELEASE: "l",
    Action.SEND: "s",
    Action.RECEIVE: "v",
    Action.OPEN: "o",
    Action.CLOSE: "c",
    Action.CREATE: "m",
    Action.REMOVE: "d",
    Action.FORK: "f",
    Action.EXEC: "x",
    Action.EXIT: "e",
    Action.WAIT: "t",
    Action.SIGNAL: "k",
    Action.DELIVER: "h",
    Action.SLEEP: "z",
    Action.START: "b",
    Action.CALL: "q",
}
_ACTIONS = {letter: action for action, letter in _LETTERS.items()}


class BadToken(ValueError):  # noqa: N818  # the word that a user reads
    """A text that is no token, or not whole; its text says which."""


class Source(enum.StrEnum):
    """Where a program comes from."""

    SCENARIO = "scenario"
    COMMAND = "command"
    FUNCTION = "function"
    TEST = "test"


@dataclass(frozen=True)
class Origin:
    """How to find the program again."""

    source: Source
    words: tuple[str, ...]
    """The scenario's id; the command and its arguments; "module:qualname" of the function; the
    test's node id."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Those that were set, of a scenario."""

    @property
    def name(self) -> str:
        """What a reader calls the program."""
        return " ".join(self.words)

    @property
    def has_a_name(self) -> bool:
        """Whether a function can be imported by its name.

        One inside another cannot; nor one of `__main__`, which is another program each time.
        """
        return "<" not in self.name and not self.name.startswith("__main__:")


@dataclass(frozen=True)
class Token:
    """One run of one program. `str` gives the text, `Token.read` takes it."""

    origin: Origin
    schedule: Schedule
    actions: tuple[Action, ...] = ()
    """What was chosen each time, in order."""
    max_steps: int = 0
    """The bound of steps that the run had."""
    fingerprint: int = 0
    """Of the whole trace, as `fingerprint` makes it."""
    made_on: str = ""
    """The architecture and Python version of the run, as `here` gives it."""

    def __str__(self) -> str:
        names = list(dict.fromkeys(process for _, process in self.schedule.deviations))
        content = [
            self.origin.source,
            self.origin.words,
            self.origin.parameters,
            names,
            "".join(_packed(self.schedule, names)),
            self.schedule.preemptions,
            "".join(_LETTERS[action] for action in self.actions),
            self.max_steps,
            self.fingerprint,
            self.made_on,
        ]
        data = _folded(json.dumps(content, separators=(",", ":")).encode())
        whole = zlib.crc32(data).to_bytes(_CHECKSUM, "big") + data
        return _FORMAT + base64.urlsafe_b64encode(whole).decode("ascii").rstrip("=")

    @classmethod
    def read(cls, text: str) -> Token:
        """The token that the text says.

        Raises BadToken.
        """
        try:
            return _understood(json.loads(_unfolded(text.strip())))
        except (TypeError, ValueError, LookupError) as error:
            if isinstance(error, BadToken):
                raise
            # The checksum was right, so this was never written by a lab.
            raise BadToken(f"this token is whole, but makes no sense: {error}") from error


def fingerprint(trace: Trace) -> int:
    """32 bits that differ if anything in the run differs that `lab.search.replay` compares."""
    content = [trace.ending.value, *map(sameness, trace.events)]
    return zlib.crc32(repr(content).encode("utf-8", "surrogatepass"))


def here() -> str:
    """This architecture and Python version: the same token means the same run only there."""
    return f"{platform.machine()} {sys.version_info.major}.{sys.version_info.minor}"


def _packed(schedule: Schedule, names: list[str]) -> Iterator[str]:
    """Each deviation as the steps left out before it, unless none, and a letter for the task."""
    after = 0
    for step, process in schedule.deviations:
        yield f"{step - after or ''}{chr(ord('a') + names.index(process))}"
        after = step + 1


def _unpacked(text: str, names: list[str]) -> Iterator[tuple[int, str]]:
    named = {chr(ord("a") + index): name for index, name in enumerate(names)}
    step, digits = 0, ""
    for character in text:
        if character.isdecimal():
            digits += character
            continue
        step += int(digits or 0)
        yield step, named[character]
        step, digits = step + 1, ""
    if digits:
        raise ValueError("its schedule ends within a number")


def _folded(content: bytes) -> bytes:
    machine = zlib.compressobj(9, wbits=-15, zdict=_COMMON)
    return machine.compress(content) + machine.flush()


def _unfolded(text: str) -> bytes:
    if not text:
        raise BadToken("there is no token; a report shows it after `lab replay`")
    if not text.startswith(_FORMAT):
        raise BadToken(
            f"{_shown(text)} is no token, or one of another version of the lab: it should begin "
            f"with {_FORMAT}. Copy it again from the report"
        )
    body = text[len(_FORMAT) :]
    try:
        whole = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadToken(
            f"{_shown(text)} is no token: it holds letters that none has, or lost some. Copy it "
            "again from the report"
        ) from None
    checksum, data = whole[:_CHECKSUM], whole[_CHECKSUM:]
    if zlib.crc32(data).to_bytes(_CHECKSUM, "big") != checksum:
        raise BadToken(
            f"{_shown(text)} is not whole: its checksum is wrong. Copy all of it, from the first "
            f"{_FORMAT} to the end of the line"
        )
    machine = zlib.decompressobj(wbits=-15, zdict=_COMMON)
    try:
        content = machine.decompress(data, _LONGEST)
    except zlib.error as error:
        raise ValueError(error) from None
    if not machine.eof:
        raise ValueError("it does not end, or unfolds to far too much")
    return content


def _understood(content: Any) -> Token:
    source, words, parameters, names, packed, preemptions, letters, most, mark, made_on = content
    names = [str(name) for name in names]
    return Token(
        Origin(
            Source(source),
            tuple(str(word) for word in words),
            tuple((str(name), str(value)) for name, value in parameters),
        ),
        Schedule(tuple(_unpacked(packed, names)), int(preemptions)),
        tuple(_ACTIONS[letter] for letter in letters),
        int(most),
        int(mark),
        str(made_on),
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 24 else f"{text[:20]}...")  # noqa: PLR2004  # short enough
