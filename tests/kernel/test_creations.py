"""Who made a name: told to this process of itself, and to root of everybody."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.kernel.creations import Creations


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm")
def test_a_name_comes_with_its_maker() -> None:
    try:
        news = Creations("/dev/shm")
    except OSError as refused:
        pytest.skip(f"fanotify is refused: {refused}")
    mine, other = (f"lab-creations-{os.getpid()}-{each}" for each in ("mine", "other"))
    try:
        os.mkfifo(f"/dev/shm/{mine}")
        subprocess.run(["touch", f"/dev/shm/{other}"], check=True)
        makers = dict(news.heard())
    finally:
        news.close()
        for name in (mine, other):
            Path("/dev/shm", name).unlink(missing_ok=True)
    assert makers[mine] == os.getpid()
    assert makers[other] != os.getpid()
