from __future__ import annotations

import mmap
import os
from pathlib import Path

from lab.kernel import maps

GONE = 1 << 22  # above the highest PID that a kernel can give
ME = os.getpid


def test_a_process_that_is_gone_shares_nothing() -> None:
    assert list(maps.shared_mappings(GONE)) == []


def test_shared_mappings_are_told_from_private_ones(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 8192)
    with open(path, "r+b") as file:
        with mmap.mmap(file.fileno(), 4096, offset=4096):
            shared = [m for m in maps.shared_mappings(ME()) if m.path == str(path)]
        with mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE):
            private = [m for m in maps.shared_mappings(ME()) if m.path == str(path)]

    (mapping,) = shared
    assert private == []
    assert (mapping.inode, mapping.offset) == (path.stat().st_ino, 4096)
    assert mapping.end - mapping.start == 4096
