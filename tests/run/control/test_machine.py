"""What the state of a task says of it."""

from __future__ import annotations

import os

import pytest

from lab.kernel.window import Space
from lab.run.control import machine
from lab.run.control.machine import Machine
from lab.run.control.task import Process, Task, Where


@pytest.mark.parametrize(
    ("letter", "where", "sleeps"),
    [
        ("S", Where.READY, True),
        ("R", Where.READY, False),
        ("D", Where.READY, False),
        ("D", Where.IN_KERNEL, False),
        ("D", Where.VFORK_PARENT, True),
    ],
    ids=["for others", "not", "for a disk", "for a disk, in a call entered before", "for a child"],
)
def test_who_waits_for_a_disk_goes_on_by_itself(
    letter: str, where: Where, sleeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a program whose every task reads from a slow disk would be told to hang."""
    process = Process("P0", os.getpid(), 2, None, Space(-1), "", 0.0)
    task = Task(os.getpid(), process, "P0", Machine(), where)
    monkeypatch.setattr(machine, "state", lambda _tid: letter)

    assert Machine.sleeps(task) is sleeps
