"""A runner of toy tasks in place of the controller, so that a test of the doors needs no kernel."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Self

import pytest

from lab.ahead import Job, Recording, perform
from tests.search.toy import Program, ToyRunner


def control(
    monkeypatch: pytest.MonkeyPatch, program: Program, runner: type[ToyRunner] = ToyRunner
) -> None:
    """Let every exploration run a toy program, whatever it was asked to run."""

    def in_controller(
        work: Callable[[Any, Callable[[object], None]], Any],
        _program: object,
        _limits: object,
        *,
        heard: Callable[[object], None] = lambda _: None,
    ) -> Any:
        return work(runner(program), heard)

    def in_controllers(
        works: Sequence[Callable[[Any, Callable[[object], None]], Any]],
        _program: object,
        _limits: object,
        *,
        heard: Callable[[object], bool],
    ) -> None:
        """The last work first, so that no run comes in order; and none is ended early."""
        for work in reversed(works):
            work(runner(program), lambda value: heard(value) and None)

    class Pool:
        """The last job first, and each only when somebody waits."""

        def __init__(self, _program: object, _limits: object, size: int) -> None:
            self.slots = size
            self._jobs: list[tuple[int, Job]] = []
            self._runner = runner(program)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, number: int, job: Job) -> None:
            assert len(self._jobs) < self.slots
            self._jobs.append((number, job))

        def wait(self) -> tuple[int, Recording]:
            number, job = self._jobs.pop()
            recording = perform(self._runner, job)
            return number, pickle.loads(pickle.dumps(recording))  # noqa: S301  # just made

    stand_in = SimpleNamespace(
        in_controller=in_controller, in_controllers=in_controllers, Pool=Pool
    )
    monkeypatch.setitem(sys.modules, "lab.run.control", stand_in)
