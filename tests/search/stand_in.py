"""A runner of toy tasks in place of the controller, so that a test of the doors needs no kernel."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

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

    stand_in = SimpleNamespace(in_controller=in_controller, in_controllers=in_controllers)
    monkeypatch.setitem(sys.modules, "lab.run.control", stand_in)
