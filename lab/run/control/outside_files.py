"""Files that wider fixtures made where no layer covers them: in the working directory, say.

What a program writes there is its user's, and stays. But what one run changed of a file that was
made for all of them, the next must not find. So it is kept at the stop before the first change, and
written back when the run is over.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from lab.kernel.inherited import MOST
from lab.kernel.libc import birth_time

_REMEDY = "make it in a fixture of function scope, or below tmp_path"


@dataclass(frozen=True)
class _File:
    mode: int
    contents: bytes


class OutsideFiles:
    """Those that were made since a moment and before the first run."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._known: dict[str, _File | None] = {}
        """None: a path where nothing was, or what was there before the session."""
        self._lost: dict[str, None] = {}

    def keep(self, path: str) -> None:
        """Before a run changes what is at a path: keep it, unless it is known already."""
        if path in self._known:
            return
        self._known[path] = None
        try:
            status = os.lstat(path)
        except OSError:
            return  # a run makes it: now, and again in the next
        born = birth_time(path)
        if born is None or born < self._since:
            return
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST:
            self._lose(path, f"only files of up to {MOST >> 20} MiB are")
            return
        try:
            with open(path, "rb") as file:
                self._known[path] = _File(stat.S_IMODE(status.st_mode), file.read())
        except OSError as refused:
            self._lose(path, refused.strerror or "")

    def put_back(self) -> tuple[str, ...]:
        """Write back what was changed; gives what could not be."""
        for path, file in self._known.items():
            if file is not None:
                try:
                    _restore(path, file)
                except OSError as refused:
                    self._lose(path, refused.strerror or "")
        return tuple(self._lost)

    def _lose(self, path: str, why: str) -> None:
        self._lost[
            f"{path} was made before the runs, one changes it, and it is not put back: {why}; "
            f"{_REMEDY}"
        ] = None


def _restore(path: str, file: _File) -> None:
    """Into the file that is there, if one is: the fixture may have it open. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, file.mode)
    try:
        if os.fstat(descriptor).st_size != len(file.contents):
            os.ftruncate(descriptor, len(file.contents))
        if os.pread(descriptor, len(file.contents), 0) != file.contents:
            os.pwrite(descriptor, file.contents, 0)
        os.fchmod(descriptor, file.mode)
    finally:
        os.close(descriptor)
