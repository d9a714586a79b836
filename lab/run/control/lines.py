"""Which line of the program a Python process is at, for the run that explains a finding.

A trace function in the program writes "file:line" to a place in its own memory, at a fixed
address and private, so each forked child has its own; the tracer reads it there at each step. It
is switched on for that one replay only: it makes no system call and touches nothing shared, so
the steps stay the same, but it is slow.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import threading
from collections.abc import Callable
from types import FrameType

from lab.kernel import libc
from lab.kernel.arch import injection
from lab.kernel.window import Space

PLACE = injection.PAGE + injection.SIZE
SIZE = 0x1000
_LONGEST = 1024
_LAB = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def record_lines(body: Callable[..., object] | None) -> None:
    """In the root process: from here on, keep note of the line.

    Args:
        body: what will run; the folder that it comes from is the program's own, wherever it lies:
            scenarios may be installed beside libraries.
    """
    own = _folder_of(body)
    foreign = tuple(
        os.path.join(path, "") for path in (_LAB, *sysconfig.get_paths().values()) if path
    )
    here = os.path.join(os.getcwd(), "")
    # An installed scenario is shown as in a checkout: "scenarios/counter.py".
    above = os.path.join(os.path.dirname(own.rstrip("/")), "") if own.startswith(foreign) else ""
    ours: dict[str, bytes] = {}
    put = libc.put  # looked up once: this runs at every line

    def shown(file: str) -> bytes:
        """The name to show for a file; b"" for one that is not the program's own."""
        if not (own and file.startswith(own)) and file.startswith(("<", *foreign)):
            return b""
        return os.fsencode(file.removeprefix(here).removeprefix(above))[:_LONGEST]

    def line(frame: FrameType, event: str, _argument: object) -> object:
        if event == "line":
            note(ours[frame.f_code.co_filename], frame.f_lineno)
        return line

    def call(frame: FrameType, _event: str, _argument: object) -> object:
        file = frame.f_code.co_filename
        name = ours.get(file)
        if name is None:
            name = ours[file] = shown(file)
        if not name:
            return None  # a library: the line that called it is what the reader knows
        note(name, frame.f_lineno)
        return line

    def note(name: bytes, number: int) -> None:
        text = b"%s:%d\0" % (name, number)
        put(PLACE, text, len(text))

    threading.settrace(call)  # type: ignore[arg-type]  # typeshed wants one of its own protocols
    sys.settrace(call)  # type: ignore[arg-type]


def _folder_of(body: Callable[..., object] | None) -> str:
    """The folder of the file that a function is written in; "" where that is not known."""
    while isinstance(body, functools.partial):
        body = body.func
    code = getattr(body, "__code__", None)
    if code is None or code.co_filename.startswith("<"):
        return ""
    return os.path.join(os.path.dirname(os.path.abspath(code.co_filename)), "")


def line_of(space: Space) -> str:
    """The line at which a process stands; "" where none was noted."""
    return space.read(PLACE, _LONGEST + 16).partition(b"\0")[0].decode(errors="backslashreplace")
