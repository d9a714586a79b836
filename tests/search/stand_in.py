"""A runner of toy tasks in place of the controller, so that a test of the doors needs no kernel."""

from __future__ import annotations

import sys
from collections.abc import Callable
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

    stand_in = SimpleNamespace(in_controller=in_controller)
    monkeypatch.setitem(sys.modules, "lab.run.control", stand_in)
