from __future__ import annotations

import os
import time

import pytest

from lab.kernel import sleeping
from tests.forked import stranger

GONE = 1 << 22  # above the highest PID that a kernel can give


def test_a_process_that_is_gone_does_not_sleep() -> None:
    assert sleeping.sleep_of(GONE, GONE) == ""


def test_a_sleep_is_another_sleep_as_soon_as_it_was_interrupted_by_a_move() -> None:
    reader, writer = os.pipe()

    def body() -> None:
        while True:
            os.read(reader, 1)

    with stranger(body) as pid:
        first = _until_asleep(pid)
        assert sleeping.sleep_of(pid, pid) == first
        os.write(writer, b"!")
        deadline = time.monotonic() + 60
        while (second := sleeping.sleep_of(pid, pid)) in ("", first):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert sleeping.call_of(second) == sleeping.call_of(first)
    os.close(reader)
    os.close(writer)


def _until_asleep(pid: int) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        before = sleeping.sleep_of(pid, pid)
        time.sleep(0.002)
        if before and sleeping.sleep_of(pid, pid) == before:
            return before
    pytest.fail("it never slept")


def test_one_that_runs_does_not_sleep() -> None:
    def body() -> None:
        while True:
            pass

    with stranger(body) as pid:
        deadline = time.monotonic() + 60
        while sleeping.sleep_of(pid, pid) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert sleeping.sleep_of(pid, pid) == ""


def test_a_call_is_its_number_and_its_six_arguments() -> None:
    call = sleeping.call_of("17 0x1 0x2 0x3 0x4 0x5 0xffffffffffffffff 0x7ffe 0x7f00\n12")

    assert call == sleeping.Call(17, (1, 2, 3, 4, 5, (1 << 64) - 1))
