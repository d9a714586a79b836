"""What the program prints: kept in memory, bounded, never in the program's way.

A file and not a pipe: a pipe fills up, and a program that blocks because the lab reads slowly
would show a hang that it does not have.
"""

from __future__ import annotations

import os

KEPT = 64 * 1024
"""Bytes of output that a report may show."""
_BOUND = 4 * 1024 * 1024
"""Bytes after which what was printed is dropped, so that a print loop cannot fill the memory."""


class Output:
    """A file without a name that takes standard output and error together."""

    def __init__(self) -> None:
        anonymous = os.memfd_create("lab-output")
        # Opened anew to append: after a cut, writers go on at the new end and leave no hole.
        self.descriptor = os.open(f"/proc/self/fd/{anonymous}", os.O_RDWR | os.O_APPEND)
        os.close(anonymous)
        self._dropped = 0
        self._head = b""

    def bound(self) -> None:
        """Called now and then: keep the beginning, drop the rest of too much output."""
        size = os.fstat(self.descriptor).st_size
        if size > _BOUND:
            self._head = self._head or os.pread(self.descriptor, KEPT, 0)
            self._dropped += size
            os.ftruncate(self.descriptor, 0)

    def text(self) -> str:
        """What was printed: all of it, or its beginning and the count of what was cut."""
        size = self._dropped + os.fstat(self.descriptor).st_size
        head = self._head or os.pread(self.descriptor, KEPT, 0)
        text = head.decode(errors="backslashreplace")
        cut = size - len(head)
        return f"{text}\n[{cut} more bytes were printed]\n" if cut > 0 else text

    def close(self) -> None:
        """Forget it."""
        os.close(self.descriptor)
