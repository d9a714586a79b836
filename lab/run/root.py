"""The root process of a run: from a fork of the lab to a program as its author knows it.

The fork inherits whatever the lab's process had: pytest's handlers, its replaced standard
streams, its exit functions. All that is put back to what a fresh interpreter has, or a run would
test pytest beside the program.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NoReturn, TextIO

from lab.run.letterbox import Letterbox, Payload
from lab.trace import Failure, Messages, Tally

CANNOT_EXECUTE = 126
"""Exit status when the command could not be executed, as in a shell."""
_LAB = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Function:
    """A program that is a Python function."""

    name: str
    body: Callable[[], Tally | Messages | None]

    def become(self, letterbox: Letterbox) -> NoReturn:
        """Run the body in this process and exit as an interpreter would."""
        root = os.getpid()
        payload: Payload = None
        status = 0
        try:
            payload = self.body()
            _run_exit_functions()
        except SystemExit as leaving:
            status = _status_of(leaving)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the program's
            payload = _failure(error)
            sys.stderr.write(payload.traceback)
            status = 1
        with contextlib.suppress(OSError, ValueError):  # the program may have closed them
            sys.stdout.flush()
            sys.stderr.flush()
        # A child that the body forked and that returned from it comes by here as well. It is
        # no root: it ends as a program that reaches its last line.
        if os.getpid() == root:
            letterbox.post(payload)
        os._exit(status)


@dataclass(frozen=True)
class Command:
    """A program that is a command line."""

    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """The command line, as it would be typed."""
        return " ".join(self.arguments)

    def become(self, letterbox: Letterbox) -> NoReturn:  # noqa: ARG002  # has no result
        """Replace this process by the command."""
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # ignored by Python, not by a shell's child
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            os.execvp(self.arguments[0], self.arguments)
        except OSError as error:
            sys.stderr.write(f"lab: {self.arguments[0]}: {error.strerror}\n")
            sys.stderr.flush()
            os._exit(CANNOT_EXECUTE)


Program = Function | Command


def begin(
    program: Program, letterbox: Letterbox, streams: Sequence[int], parting: Callable[[], None]
) -> NoReturn:
    """In the forked child: become the program.

    Args:
        program: what to run.
        letterbox: where its result goes.
        streams: descriptors to be its standard input, output and error.
        parting: closes what the sandbox's init keeps open and the program must not see.
    """
    try:
        os.setsid()
        parting()
        for standard, descriptor in enumerate(streams):
            os.dup2(descriptor, standard)
        for descriptor in {*streams} - {0, 1, 2}:
            os.close(descriptor)
        _fresh_interpreter()
        program.become(letterbox)
    except BaseException:  # noqa: BLE001  # the lab's own failure must not run on as the lab
        os.write(2, traceback.format_exc().encode())
    os._exit(70)


def _fresh_interpreter() -> None:
    faulthandler.disable()
    for number in signal.valid_signals():
        # SIGKILL and SIGSTOP have no disposition, nor have glibc's own two real-time signals.
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    sys.settrace(None)
    sys.setprofile(None)
    threading.settrace(None)
    sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w")
    atexit._clear()
    _fresh_multiprocessing()


def _stream(descriptor: int, mode: Literal["r", "w"]) -> TextIO:
    return open(  # a standard stream lives as long as its process
        descriptor, mode, buffering=1, errors="backslashreplace", closefd=False
    )


def _fresh_multiprocessing() -> None:
    """A host's resource tracker lives outside the sandbox: the program must start its own."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
        atexit.register(util._exit_function)  # cleared above, and a program relies on it
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    if tracker is not None:
        tracker._resource_tracker._fd = None
        tracker._resource_tracker._pid = None
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process._children = set()  # type: ignore[attr-defined]  # the host's, not the program's


def _run_exit_functions() -> None:
    """What an interpreter does at its end: join threads, then run the exit functions.

    multiprocessing joins its children there, so a body that starts processes and returns behaves
    as the same lines at the end of a script would.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # the interpreter's own first step
    atexit._run_exitfuncs()


def _status_of(leaving: SystemExit) -> int:
    code = leaving.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _failure(error: BaseException) -> Failure:
    return Failure(
        type(error).__name__,
        str(error),
        _last_own_line(error.__traceback__),
        "".join(traceback.format_exception(error)),
        is_assertion=isinstance(error, AssertionError),
    )


def _last_own_line(trace: TracebackType | None) -> str:
    """The innermost line that is the program's: neither the lab's nor a library's."""
    where = ""
    for frame in traceback.extract_tb(trace):
        path = Path(frame.filename)
        if path.is_relative_to(_LAB) or "site-packages" in path.parts or not path.exists():
            continue
        if path.is_relative_to(Path(os.__file__).parent):
            continue
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        where = f"{shown}:{frame.lineno}"
    return where
