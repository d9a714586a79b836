"""An exception that left a body, as data.

It is described in the process that raised it, which may be in any state: its working directory
gone, its exception unwilling to be printed, its stack a thousand frames deep. A failure to
describe a failure would hide it.
"""

from __future__ import annotations

import contextlib
import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from lab.trace import Failure

_LAB = Path(__file__).resolve().parents[1]
_STANDARD = Path(sysconfig.get_path("stdlib"))
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_KEPT = 64 * 1024
"""Characters of a message or a traceback: a letter must fit its box."""


def failure(error: BaseException) -> Failure:
    """Describe an exception that left the body."""
    return Failure(
        type(error).__name__,
        _cut(_message(error)),
        _place(error.__traceback__),
        _cut("".join(traceback.format_exception(type(error), error, _from_body(error)))),
        is_assertion=isinstance(error, AssertionError),
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as worse:  # noqa: BLE001  # an exception class may have a bug of its own
        return f"(its message could not be read: {type(worse).__name__})"


def _from_body(error: BaseException) -> TracebackType | None:
    """The traceback from the body on: without the lab, and a framework that called it, above."""
    frames = []
    trace = error.__traceback__
    while trace:
        frames.append(trace)
        trace = trace.tb_next
    for is_own in (_is_programs, _is_outside_lab):
        for frame in frames:
            if is_own(Path(frame.tb_frame.f_code.co_filename)):
                return frame
    return error.__traceback__


def _is_programs(path: Path) -> bool:
    return _is_outside_lab(path) and not _INSTALLED & {*path.parts}


def _is_outside_lab(path: Path) -> bool:
    """No part of the lab, nor of what comes with Python."""
    in_library = path.is_relative_to(_STANDARD) and not _INSTALLED & {*path.parts}
    return not in_library and not path.is_relative_to(_LAB) and os.path.exists(path)


def _place(trace: TracebackType | None) -> str:
    """The innermost line that is the program's own, else of a library that it installed."""
    own, installed = "", ""
    for path, line in _lines(trace):
        if _INSTALLED & {*path.parts}:
            installed = f"{path}:{line}"
        else:
            own = f"{path}:{line}"
    return own or installed


def _lines(trace: TracebackType | None) -> Iterator[tuple[Path, int]]:
    """Outermost first; without the lab's lines and the standard library's."""
    here = None
    with contextlib.suppress(OSError):  # it may have been removed
        here = Path.cwd()
    for frame in traceback.extract_tb(trace):
        path = Path(frame.filename)
        if not _is_outside_lab(path):
            continue
        shown = path.relative_to(here) if here and path.is_relative_to(here) else path
        yield shown, frame.lineno or 0


def _cut(text: str) -> str:
    # Half from each end: a traceback begins with where it was and ends with what it was.
    if len(text) <= _KEPT:
        return text
    half = _KEPT // 2
    return f"{text[:half]}\n[{len(text) - _KEPT} characters are cut here]\n{text[-half:]}"
