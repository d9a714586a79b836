from __future__ import annotations

import time
from pathlib import Path

from lab.kernel.libc import file_clock
from lab.kernel.outside import Outside
from lab.trace import ObjectType


def test_what_was_there_before_is_shared() -> None:
    outside = Outside(frozenset({(3, 14), (ObjectType.SYSV_SEM, 7)}))

    assert outside.shares((3, 14))
    assert outside.shares((ObjectType.SYSV_SEM, 7))
    assert not outside.shares((3, 15))
    assert not outside.shares((ObjectType.SYSV_MQ, 7))


def test_a_file_made_before_the_run_is_shared_however_new_its_content(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    made = time.time()  # files may be dated finer than by the clock, which is late by a tick
    while file_clock() <= made:
        time.sleep(0.001)
    outside = Outside(began=file_clock())
    old.write_text("changed since")
    new.touch()

    assert outside.shares_file(str(old))
    assert not outside.shares_file(str(new))


def test_a_file_of_unknown_age_is_shared() -> None:
    assert Outside().shares_file("/proc/self/stat")
