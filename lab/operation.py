"""How an operation reads in a sentence and in a column: "read /counter -> 4".

Events tell what happened and pendings what is about to; detectors, replays and reports speak of
both, and a reader must recognise one in the other.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from typing import TYPE_CHECKING

from lab.trace import Action, Event

if TYPE_CHECKING:
    from lab.search.strategy import Pending

PRINTED = "memfd:lab-output"
"""The object that takes what a program prints, named by `lab.run.output`."""

_INTEGERS = frozenset({1, 2, 4, 8})
_LETTERS = frozenset(range(0x20, 0x7F))
_LINES = _LETTERS | {*b"\t\r\n"}
_INSTRUCTIONS = frozenset({"load", "store", "update", "copy"})
_NUMBERED = re.compile(r"(P\d+\.|inherited-)?\d+")
_PROCESS = re.compile(r"P\d+")
_BYTES_SHOWN = 16
_TEXT_SHOWN = 40


def operation(of: Event | Pending) -> str:
    """Who does what to which place, without values: "P2 write posix-shm:/counter+8"."""
    return f"{of.process} {of.action}{f' {place(of)}' if of.object else ''}"


def awaited(pending: Pending) -> str:
    """What somebody waits to do, after "waits ": "to acquire /lock", "for the exit of P1"."""
    if pending.action is not Action.WAIT:
        return f"to {pending.action} {short(pending.object)}".rstrip()
    if pending.object == pending.process:
        return "for a signal"
    ends = pending.object.split()
    if ends and all(_PROCESS.fullmatch(end) for end in ends):
        return f"for the exit of {' or '.join(ends)}"
    return f"for {short(pending.object)}" if pending.object else "for its time"


def place(of: Event | Pending) -> str:
    """The object, and where in it unless at its beginning: "posix-shm:/counter+8"."""
    return f"{of.object}+{of.offset}" if of.offset else of.object


def short(name: str) -> str:
    """An object's name without its type, as its user knows it: "/counter".

    What has no name but a number keeps the type: "pipe:1", "pipe:P1.2".
    """
    own = name.partition(":")[2]
    return name if not own or _NUMBERED.fullmatch(own) else own


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
    text = through_call(event)
    match event.action:
        case Action.READ | Action.RECEIVE if event.before:
            return f"{done} -> {value(event.before, text=text)}"
        case Action.WRITE | Action.SEND if event.after:
            return f"{done} = {value(event.after, text=text)}"
        case Action.UPDATE if event.before and event.after:
            return f"{done}: {value(event.before)} -> {value(event.after)}"
        case _:
            return done


def through_call(event: Event) -> bool:
    """Whether its bytes went through a call, as text often does; memory holds numbers."""
    if event.action in (Action.SEND, Action.RECEIVE):
        return True
    if event.object.startswith("redis:"):
        return True
    return event.object.startswith("file:") and event.call not in _INSTRUCTIONS


def signal_name(event: Event) -> str:
    """The signal that a step sends: "SIGTERM"."""
    number = event.after[0]
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has a number and no name
        return f"signal {number}"


def value(data: bytes, *, text: bool = False) -> str:
    """Bytes as their author most likely meant them.

    1, 2, 4 and 8 of them are a little-endian integer, unless four or more all are letters:
    a number so made of printable bytes is larger than most programs count.

    Args:
        data: the bytes.
        text: letters are letters however few they are, and lines may end.
    """
    letters = data.rstrip(b"\0")
    readable = bool(letters) and all(byte in (_LINES if text else _LETTERS) for byte in letters)
    worded = readable and len(letters) == len(data) and (text or len(data) > 2)  # noqa: PLR2004  # "four or more"
    if len(data) in _INTEGERS and not worded:
        return str(int.from_bytes(data, "little"))
    if readable:
        shown = letters[:_TEXT_SHOWN].decode("ascii")
        return repr(shown) if len(letters) <= _TEXT_SHOWN else f"{shown!r}..."
    if not data:
        return "nothing"
    return f"0x{data[:_BYTES_SHOWN].hex()}{'...' if len(data) > _BYTES_SHOWN else ''}"


def _error(number: int) -> str:
    return errno.errorcode.get(number) or os.strerror(number)
