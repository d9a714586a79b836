"""`lab watch`: a live view of a tree of processes; the thing to reach for when something hangs."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from lab.commands.exec import refuse_unrunnable
from lab.commands.output import UsageError
from lab.commands.running import demand_linux
from lab.report.live import render
from lab.report.style import WIDTH, Style, cut
from lab.run.live import Live, attach, start

if TYPE_CHECKING:
    import argparse

_LOOK = 0.1
"""Seconds between two looks: what falls asleep and is woken in between is not shown asleep."""
_ONCE = 1.2
"""Seconds after which one look can tell who does not move."""
_PATIENCE = {True: 0.5, False: 5.0}
"""Seconds between two pictures: on a terminal they replace each other, in a log they add up."""


def execute(arguments: argparse.Namespace) -> int:
    """Show the tree until it is gone; the exit status is the command's own, if we started it."""
    if bool(arguments.program) == (arguments.pid is not None):
        raise UsageError(
            "lab watch needs a command after --, or --pid: lab watch -- make test; lab watch "
            "--pid 4711"
        )
    demand_linux()
    if arguments.once and arguments.program:
        raise UsageError("lab watch: --once goes with --pid; a command is watched to its end")
    with _Screen(arguments.every) as screen:
        if arguments.program:
            refuse_unrunnable("watch", arguments.program[0])
            live = start(arguments.program, screen.program_terminal())
        else:
            live = attach(arguments.pid)
        if arguments.once:
            return _once(live, screen)
        return _follow(live, screen, own=bool(arguments.program))


def _once(live: Live, screen: _Screen) -> int:
    until = time.monotonic() + _ONCE
    while time.monotonic() < until:
        live.keep_up()
        screen.wait(_LOOK)
    screen.draw(live)
    return 0


def _follow(live: Live, screen: _Screen, *, own: bool) -> int:
    due = 0.0
    while live.alive:
        live.keep_up()
        # The first Ctrl-C has reached the command too, and it may have something to put in order.
        if screen.interrupts > int(own):
            screen.draw(live)
            return 130
        if time.monotonic() >= due:
            screen.draw(live)
            due = time.monotonic() + screen.every
        screen.wait(_LOOK)
    live.keep_up()  # whoever was left a zombie has fallen to us now
    screen.finish()
    screen.draw(live)
    return live.status if own else 0


class _Screen:
    """A part of the terminal that is drawn over again, below what the program prints.

    The program writes to a terminal of its own, so that it buffers and colours as it always does.
    Its output goes above the picture, line by line and byte for byte, and scrolls away as usual. A
    line that is not finished, a question say, is the first of the picture.
    """

    def __init__(self, every: float | None) -> None:
        self._live = sys.stderr.isatty()
        self._style = Style.of(sys.stderr)
        self.every = every or _PATIENCE[self._live]
        self._drawn = 0
        self._unfinished = b""
        self._master: int | None = None
        self._slave: int | None = None
        self._wake, self._waker = os.pipe()
        for side in (self._wake, self._waker):
            os.set_blocking(side, False)
        self.interrupts = 0

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._interrupted)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, self._before)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._wake, self._waker, self._master, self._slave):
            if end is not None:
                os.close(end)

    def _interrupted(self, *_: object) -> None:
        self.interrupts += 1

    def program_terminal(self) -> int | None:
        """What the program is to write to; None: to what we write to."""
        if not (self._live and sys.stdout.isatty()):
            return None
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        settings = termios.tcgetattr(self._slave)
        settings[1] &= ~termios.ONLCR  # the terminal that it is passed on to does that
        termios.tcsetattr(self._slave, termios.TCSANOW, settings)
        with contextlib.suppress(termios.error):
            termios.tcsetwinsize(self._slave, termios.tcgetwinsize(2))
        return self._slave

    def wait(self, seconds: float) -> None:
        """Until somebody dies, prints or interrupts us, but not for longer than this."""
        sources = [self._wake, *([self._master] if self._master is not None else [])]
        ready, _, _ = select.select(sources, [], [], seconds)
        if self._wake in ready:
            os.read(self._wake, 4096)
        self.pass_on()

    def pass_on(self) -> None:
        """Show what the program has printed, above the picture."""
        printed = self._unfinished + b"".join(self._printed())
        whole, newline, self._unfinished = printed.rpartition(b"\n")
        if newline:
            self._erase()
            os.write(1, whole + newline)

    def finish(self) -> None:
        """Show also the line that was never finished."""
        self.pass_on()
        if self._unfinished:
            self._erase()
            os.write(1, self._unfinished + b"\n")
            self._unfinished = b""

    def _printed(self) -> Iterator[bytes]:
        with contextlib.suppress(OSError):  # nothing more, for now or for ever
            while self._master is not None and (read := os.read(self._master, 1 << 16)):
                yield read

    def draw(self, live: Live) -> None:
        """Draw the picture in the place of the one before."""
        columns, lines = shutil.get_terminal_size((WIDTH, 24)) if self._live else (WIDTH, 0)
        text = render(live.look(), self._style, width=max(columns, 40), height=max(lines - 1, 0))
        if self._unfinished:
            text = f"{cut(self._unfinished.decode(errors='replace'), columns)}\n{text}"
        self._erase()
        end = "\n" if self._live else "\n\n"
        sys.stderr.write(text + end)
        sys.stderr.flush()
        self._drawn = text.count("\n") + 1 if self._live else 0

    def _erase(self) -> None:
        if self._drawn:
            sys.stderr.write(f"\x1b[{self._drawn}A\r\x1b[J")
            self._drawn = 0
