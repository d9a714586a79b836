"""Let a program know that the watch has looked: no test may hope that some time is enough."""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from typing import Any

from lab.run.watch import Watch

_COUNTS = struct.Struct("=QQ")
_memory = mmap.mmap(-1, _COUNTS.size)
"""Shared with every sandbox that is forked from here: how many looks at processes, and at objects,
its init has finished."""


def be_seen(*, open_files: bool = True) -> None:
    """Go on when the watch has looked at all processes, and at what they have open, since now.

    When the root has ended it looks at what is open no more.
    """
    before = _COUNTS.unpack_from(_memory)
    wanted = (before[0] + 2, before[1] + 2 * open_files)
    while any(now < then for now, then in zip(_COUNTS.unpack_from(_memory), wanted, strict=True)):
        time.sleep(0.001)


def counted(monkeypatch: Any) -> None:
    """Let the watches of this test count."""
    for index, name in enumerate(("look", "look_at_objects")):
        monkeypatch.setattr(Watch, name, _counting(getattr(Watch, name), index))


def _counting(look: Callable[..., None], index: int) -> Callable[..., None]:
    def counting(*arguments: Any) -> None:
        look(*arguments)
        counts = list(_COUNTS.unpack_from(_memory))
        counts[index] += 1
        _COUNTS.pack_into(_memory, 0, *counts)

    return counting
