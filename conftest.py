"""What the whole test suite shares. The fixture `observe` comes from the installed plugin."""

from __future__ import annotations

import os

pytest_plugins = ["pytester"]


def pytest_xdist_auto_num_workers() -> int:
    """Three workers on two CPUs: these tests wait for processes as often as they compute."""
    return len(os.sched_getaffinity(0)) * 3 // 2 or 1
