"""Programs in C, compiled once; and nothing may be left behind by any test of control."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lab.kernel import libc
from lab.run.root import Command

Compile = Callable[..., Command]


@pytest.fixture(autouse=True, scope="session")
def _control_is_possible(control: None) -> None:
    """Nothing here can be tested without."""


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Every process falls to this one when its parent ends, so one that stays is seen."""
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    processes, descriptors = _children(), _descriptors()
    yield
    _until(lambda: _children() == processes)
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 0)
    assert _children() == processes
    assert _descriptors() == descriptors


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compile a C program: compiled(source, *flags) is the command that runs it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: install gcc to run this test")
    place = tmp_path_factory.mktemp("programs")
    made: dict[tuple[str, ...], Command] = {}

    def compile_(source: str, *flags: str, arguments: tuple[str, ...] = ()) -> Command:
        if (source, *flags) not in made:
            path = place / f"program{len(made)}"
            Path(f"{path}.c").write_text(source)
            command = [compiler, "-O2", "-o", str(path), f"{path}.c", "-pthread", *flags]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode and "-static" in flags:
                pytest.skip(f"no static C library: {done.stderr.strip()}")
            assert done.returncode == 0, done.stderr
            made[(source, *flags)] = Command((str(path),))
        return Command((*made[(source, *flags)].arguments, *arguments))

    return compile_


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def _until(done: Callable[[], bool], patience: float = 10.0) -> None:
    """Whoever was killed is gone a moment later; the kernel takes a namespace down by itself."""
    end = time.monotonic() + patience
    while not done() and time.monotonic() < end:
        for child in psutil.Process().children():
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, 0)
        time.sleep(0.01)
