"""What the locks of files are called: by the path, and by which of the files that it led to.

A lock is on a file and not on its path. When a file is put in the place of another, who has the old
one open and who opens the new one ask for two locks that know nothing of each other; taken for one,
the first would seem to be held by whoever holds the second. A file keeps the name that its lock had
when it was first asked for, also when it is renamed or removed.

Which file it is is counted at its path. What another order could change there, a rename or a
removal, changes the path, so that the numbers are the same in runs that differ in nothing else.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

_DELETED = " (deleted)"
_RECORD = " (record)"


@dataclass
class Locks:
    """The names of the locks on one run's files."""

    _names: dict[tuple[int, int], dict[bool, str]] = field(default_factory=dict)
    """By device and inode; of flock, and of fcntl, which know nothing of one another."""
    _ranks: dict[tuple[int, int], int] = field(default_factory=dict)
    """How many files were at a file's path before it, where there were any."""
    _gone: Counter[str] = field(default_factory=Counter)
    """How many files a path has led to and does not lead to any more."""

    @property
    def asked_for(self) -> bool:
        """Whether any was."""
        return bool(self._names)

    def known(self, device: int, inode: int) -> tuple[str, ...]:
        """The names of the locks on a file that somebody asked for."""
        return tuple(self._names.get((device, inode), {}).values())

    def of(self, target: str, device: int, inode: int, *, record: bool) -> str:
        """The name in the trace of the lock on a file.

        Args:
            target: the path, as the link of a descriptor in /proc reads.
            device: of the file.
            inode: of the file.
            record: it is one of fcntl's.
        """
        names = self._names.setdefault((device, inode), {})
        if record not in names:
            rank = self._ranks.get((device, inode), 0)
            number = f" ({rank + 1})" if rank else ""
            names[record] = f"lock:{target.removesuffix(_DELETED)}{number}{_RECORD * record}"
        return names[record]

    def left(self, path: str) -> None:
        """The file that was at a path is not there any more."""
        self._gone[path] += 1

    def came(self, path: str, status: os.stat_result, *, new: bool) -> None:
        """A file is at a path now; if it is new, its inode may once have been another's."""
        file = (status.st_dev, status.st_ino)
        self._ranks[file] = self._gone[path]
        if new:
            self._names.pop(file, None)
