"""What the program prints: kept in memory, bounded, never in the program's way.

A file and not a pipe: a pipe fills up, and a program that blocks because the lab reads slowly
would show a hang that it does not have.
"""

from __future__ import annotations

import os

from lab.kernel.libc import punch_hole

KEPT = 64 * 1024
"""Bytes of output that a report may show."""


class Output:
    """A file without a name that takes standard output and error together."""

    def __init__(self) -> None:
        anonymous = os.memfd_create("lab-output")  # lab.operation knows it by this name
        # Opened anew to append: whoever writes, it goes to the end.
        self.descriptor = os.open(f"/proc/self/fd/{anonymous}", os.O_RDWR | os.O_APPEND)
        os.close(anonymous)

    def bound(self) -> None:
        """Called now and then: keep the beginning, and of the rest only how much it was.

        So a print loop cannot fill the memory. A hole and no truncation: writers go on at the
        same place, and the size stays the count of all that was printed.
        """
        size = os.fstat(self.descriptor).st_size
        if size > KEPT:
            punch_hole(self.descriptor, KEPT, size - KEPT)

    def text(self) -> str:
        """What was printed: all of it, or its beginning and the count of what was cut."""
        size = os.fstat(self.descriptor).st_size
        head = os.pread(self.descriptor, KEPT, 0)
        text = head.decode(errors="backslashreplace")
        cut = size - len(head)
        return f"{text}\n[{cut} more bytes were printed]\n" if cut > 0 else text

    def empty(self) -> None:
        """Make ready for another run."""
        os.ftruncate(self.descriptor, 0)
        os.lseek(self.descriptor, 0, os.SEEK_SET)  # a program may ask for it

    def close(self) -> None:
        """Forget it."""
        os.close(self.descriptor)
