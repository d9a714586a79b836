"""The line at which a Python process stands, by py-spy: the extra `stacks`.

It is started once for each sleep and not for each look: it takes a tenth of a second, and who
sleeps goes nowhere. It does not stop the process (`--nonblocking`), so what it reads of one that
moves meanwhile may be wrong: hence only of sleepers.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys

_PATIENCE = 5.0


class Stacks:
    """Lines of Python processes, each asked for once."""

    def __init__(self) -> None:
        beside = os.path.join(os.path.dirname(sys.executable), "py-spy")
        self._program = shutil.which("py-spy") or (beside if os.path.isfile(beside) else None)
        self._known: dict[tuple[int, float], str] = {}

    def line(self, pid: int, since: float) -> str:
        """Where a process stands, as "counter.py:31 in add"; "" if that cannot be told.

        Args:
            pid: the process.
            since: when it fell asleep; another sleep is asked about anew.
        """
        if self._program is None or "python" not in _executable(pid):
            return ""
        if (pid, since) not in self._known:
            self._known[pid, since] = _dumped(self._program, pid)
        return self._known[pid, since]


def _executable(pid: int) -> str:
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""


def _dumped(program: str, pid: int) -> str:
    command = [program, "dump", "--pid", str(pid), "--json", "--nonblocking"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
        if done.returncode == 0:
            return told(done.stdout.decode(errors="replace"))
    return ""  # not a Python that it knows, or it may not look


def told(dump: str) -> str:
    """The innermost line of the main thread that is no library's, else the innermost.

    Args:
        dump: what py-spy prints.
    """
    try:
        threads = json.loads(dump)
        frames = next(
            (thread["frames"] for thread in threads if thread.get("thread_name") == "MainThread"),
            threads[0]["frames"],
        )
        own = [frame for frame in frames if not _is_library(frame["filename"])]
        frame = (own or frames)[0]
        return f"{os.path.basename(frame['filename'])}:{frame['line']} in {frame['name']}"
    except (ValueError, LookupError, TypeError):
        return ""  # nothing that we can read


def _is_library(filename: str) -> bool:
    return "/lib/python" in filename or "/site-packages/" in filename or filename.startswith("<")
