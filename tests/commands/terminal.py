"""A terminal with a command of the lab in it, for tests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY)
    # Where the tests run in a shell's background it is ignored, and so it is by their children.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A terminal of 100 columns without colour, and what has been written to it."""

    def __init__(self, *words: str, at: Path, term: str = "xterm") -> None:
        self._end, theirs = os.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab", *words],
            cwd=at,
            env={**os.environ, "TERM": term, "NO_COLOR": "1", "COLUMNS": "100", "LINES": "40"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  # no locks
        )
        os.close(theirs)
        self.text = ""

    def until(self, pattern: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text, re.DOTALL):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} has not come:\n{self.text}"
            if select.select([self._end], [], [], left)[0]:
                self.text += os.read(self._end, 1 << 16).decode()

    def type(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def close(self) -> int:
        """Read to the end; the exit status."""
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while more := os.read(self._end, 1 << 16):
                self.text += more.decode()
        os.close(self._end)
        return self._process.wait()
