"""The root process of a run: from a fork of the lab to a program as its author knows it.

The fork inherits whatever the lab's process had: pytest's handlers, its replaced standard
streams, its exit functions. All that is put back to what a fresh interpreter has, or a run would
test pytest beside the program.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import fcntl
import operator
import os
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, TextIO

from lab.run.failures import failure
from lab.run.letterbox import Letterbox, Payload
from lab.trace import Messages, Tally

CANNOT_EXECUTE = 126
"""Exit status when the command could not be executed, as in a shell."""


@dataclass(frozen=True)
class Function:
    """A program that is a Python function."""

    name: str
    body: Callable[..., Tally | Messages | None]
    server: str = ""
    """The parameter of the body that takes a Redis server, as long as that is not filled in."""

    def become(self, letterbox: Letterbox) -> NoReturn:
        """Run the body in this process and exit as an interpreter would."""
        root = os.getpid()
        payload: Payload = None
        status = 0
        try:
            payload = _result(self.body())
        except SystemExit as leaving:
            status = _status_of(leaving)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the program's
            payload, status = failure(error), 1
            if isinstance(error, KeyboardInterrupt):
                status = -signal.SIGINT
            _complain(payload.traceback)
        _finish()
        # A child that the body forked and that returned from it comes by here as well. It is
        # no root: it ends as a program that reaches its last line.
        if os.getpid() == root:
            letterbox.post(payload)
        if status < 0:  # a parent is to see that it was a signal
            signal.signal(-status, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {-status})
            os.kill(os.getpid(), -status)
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
        self.execute()

    def execute(self) -> NoReturn:
        """Replace this process by the command, or end it where that cannot be."""
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
    program: Program,
    letterbox: Letterbox,
    streams: Sequence[int],
    inherited: Collection[int],
    ready: Callable[[], None] = lambda: None,
) -> NoReturn:
    """In the forked child: become the program.

    Args:
        program: what to run.
        letterbox: where its result goes.
        streams: descriptors to be its standard input, output and error.
        inherited: descriptors that it may keep. The sandbox's own are none of its business: it
            would find them in /proc, and hand them on to its children.
        ready: called when only the program itself is left to run: from here on it is traced.
    """
    try:
        os.setsid()
        # Out of the way first: where the lab was started with a standard stream closed, one of
        # these may have its number.
        copies = [fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 3) for stream in streams]
        for standard, descriptor in enumerate(copies):
            os.dup2(descriptor, standard)
        for descriptor in open_descriptors() - {*inherited, 0, 1, 2}:
            os.close(descriptor)
        _fresh_interpreter()
        ready()
        program.become(letterbox)
    except BaseException:  # noqa: BLE001  # the lab's own failure must not run on as the lab
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(70)


def open_descriptors() -> frozenset[int]:
    """The numbers of the descriptors that this process has open."""
    listed = map(int, os.listdir("/proc/self/fd"))
    return frozenset(filter(_is_open, listed))  # the listing had one too


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


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
    sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__
    atexit._clear()
    # The host's finalizers are not the program's; and its own must find their way to the end.
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]  # not in typeshed
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
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


def _finish() -> None:
    """What an interpreter does at its end, however that came: join threads, run exit functions.

    multiprocessing joins its children there, so a body that starts processes and returns behaves
    as the same lines at the end of a script would. The last step ends the program for its signal
    handlers too: one that raises later would seem to be the lab's failure.
    """
    steps = iter((threading._shutdown, atexit._run_exitfuncs, _flush, _block_signals))  # type: ignore[attr-defined]
    while True:
        try:
            for step in steps:
                step()
        except BaseException:  # noqa: BLE001  # an interpreter says so, and goes on
            _complain(traceback.format_exc())
        else:
            return


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the program may have closed it
            stream.flush()


def _block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _result(returned: object) -> Tally | Messages | None:
    """What a body may return, as plain data that can be handed over.

    Raises TypeError for anything else.
    """
    match returned:
        case None:
            return None
        case Tally(expected, actual, what):
            return Tally(operator.index(expected), operator.index(actual), str(what))
        case Messages(sent, received):
            texts = Messages(tuple(sent), tuple(received))
            if all(isinstance(text, str) for text in texts.sent + texts.received):
                return Messages(tuple(map(str, texts.sent)), tuple(map(str, texts.received)))
            raise TypeError("the body returned Messages that are not all texts; decode them first")
        case _:
            kind = type(returned).__name__
            raise TypeError(f"the body returned {kind}; it may return a Tally, Messages or None")


def _complain(text: str) -> None:
    """On standard error, if there is one: the program may have closed or replaced it."""
    with contextlib.suppress(Exception):
        sys.stderr.write(text)
        sys.stderr.flush()


def _status_of(leaving: SystemExit) -> int:
    code = leaving.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    _complain(f"{code}\n")
    return 1
