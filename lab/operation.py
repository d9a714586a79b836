"""How an operation reads in a sentence and in a column: "read /counter -> 4".

Events tell what happened and pendings what is about to; detectors, replays and reports speak of
both, and a reader must recognise one in the other.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from lab.trace import Action, Event

if TYPE_CHECKING:
    from lab.search.strategy import Pending

_INTEGERS = frozenset({1, 2, 4, 8})
_BYTES_SHOWN = 16
_TEXT_SHOWN = 40


def operation(of: Event | Pending) -> str:
    """Who does what to which place, without values: "P2 write posix-shm:/counter+8"."""
    return f"{of.process} {of.action}{f' {place(of)}' if of.object else ''}"


def place(of: Event | Pending) -> str:
    """The object, and where in it unless at its beginning: "posix-shm:/counter+8"."""
    return f"{of.object}+{of.offset}" if of.offset else of.object


def happening(event: Event, name: str | None = None) -> str:
    """What happened and with which value: "read /counter -> 4", "write /counter = 5".

    Args:
        event: the step.
        name: what to call the place; by default in full.
    """
    thing = place(event) if name is None else name
    done = f"{event.action} {thing}".rstrip()
    if event.result is not None and event.result < 0:
        return f"{done}: {_error(-event.result)}"
    match event.action:
        case Action.READ | Action.RECEIVE if event.before:
            return f"{done} -> {value(event.before)}"
        case Action.WRITE | Action.SEND if event.after:
            return f"{done} = {value(event.after)}"
        case Action.UPDATE if event.before and event.after:
            return f"{done}: {value(event.before)} -> {value(event.after)}"
        case _:
            return done


def value(data: bytes) -> str:
    """Bytes as their author most likely meant them.

    1, 2, 4 and 8 of them are a little-endian integer, unless four or more all are letters:
    a number so made of printable bytes is larger than most programs count.
    """
    text = data.rstrip(b"\0")
    readable = bool(text) and all(0x20 <= byte < 0x7F for byte in text)  # noqa: PLR2004  # ASCII
    if len(data) in _INTEGERS and not (readable and len(text) == len(data) and len(data) > 2):  # noqa: PLR2004  # "four or more"
        return str(int.from_bytes(data, "little"))
    if readable:
        shown = text[:_TEXT_SHOWN].decode("ascii")
        return repr(shown) if len(text) <= _TEXT_SHOWN else f"{shown!r}..."
    if not data:
        return "nothing"
    return f"0x{data[:_BYTES_SHOWN].hex()}{'...' if len(data) > _BYTES_SHOWN else ''}"


def _error(number: int) -> str:
    return errno.errorcode.get(number) or os.strerror(number)
