"""What the forked children of a test write down: the names that they made, and in which line.

A child inherits the interpreter's hook, but what it remembers dies with it. So before it makes a
file in shared memory or binds a socket to a path, it appends a line to a file that its parent reads
when something was left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile

from lab.guard.leak import Birth

# Bound before a test can replace them, as in births.
_close, _getpid, _open, _write = os.close, os.getpid, os.open, os.write


class Ledger:
    """The file, in a directory that nobody else can write to."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="lab-guard-")
        self._path = os.path.join(self._folder, "made")

    def note(self, path: str, where: str) -> None:
        """In a child: write down a path that it is about to make."""
        if path == self._path:
            return  # temporary files may lie in shared memory, and opening this one is announced
        line = json.dumps([path, where, _getpid()]) + "\n"
        with contextlib.suppress(OSError):  # the program under test must not fail for it
            descriptor = _open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                _write(descriptor, line.encode())
            finally:
                _close(descriptor)

    def read(self) -> dict[str, Birth]:
        """What was written down so far, the last word about each path."""
        try:
            with open(self._path) as file:
                lines = file.readlines()
        except FileNotFoundError:
            return {}
        found = {}
        for line in lines:
            with contextlib.suppress(ValueError):  # cut short, when the disk was full
                path, where, pid = json.loads(line)
                found[path] = Birth(where, process=f"its child {pid}")
        return found

    def close(self) -> None:
        """Take the file away."""
        shutil.rmtree(self._folder, ignore_errors=True)
