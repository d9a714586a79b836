"""Let another user reach what lies in somebody's home: an interpreter, a checkout.

In a mount namespace of one's own the directory that bars the way is covered by an empty one, in
which the places that are needed are bound to where they were. Nothing changes for anybody else.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from lab.kernel.libc import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC, mount, unshare

PYTHON = (sys.base_prefix, sys.prefix, str(Path(__file__).resolve().parents[1]))
"""What a Python that is executed anew needs: its library, what is installed, and the tests."""


def make_reachable(places: Iterable[str] = PYTHON) -> None:
    """Let every user of this process and its children reach these directories; only for root.

    Raises OSError where mounts are refused.
    """
    unshare(CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    wanted = {
        place: os.open(place, os.O_PATH | os.O_DIRECTORY)
        for place in sorted({Path(place).resolve() for place in places})
    }
    for place in wanted:
        while (bar := next(filter(_bars, reversed(place.parents)), None)) is not None:
            mount("lab-test", str(bar), "tmpfs", 0, "mode=755")
            for behind, descriptor in wanted.items():
                if bar in behind.parents:
                    behind.mkdir(parents=True, exist_ok=True)
                    mount(f"/proc/self/fd/{descriptor}", str(behind), "", MS_BIND | MS_REC)
    for descriptor in wanted.values():
        os.close(descriptor)


def _bars(directory: Path) -> bool:
    return not directory.stat().st_mode & stat.S_IXOTH
