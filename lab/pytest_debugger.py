"""`--pdb` on a replay: the debugger, in the process and at the line where the run failed.

That process is the root of a controlled tree, and everything else in the tree stands still while
somebody types. So the run is made once more for the debugger alone, with no time limit and with the
terminal at hand; what its steps turn out to be is nobody's concern.
"""

from __future__ import annotations

import os
import pdb  # noqa: T100  # it is what this file is about
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

import pytest

from lab.pytest_body import Body
from lab.run.control import Runner, in_controller
from lab.search.shrink import Loosely
from lab.search.token import Token
from lab.target import Target

_PATIENCE = 24 * 3600.0
"""Seconds that somebody may look around."""
_PLUGIN = "pdbinvoke"


def debug(item: pytest.Function, body: Body, wanted: Target, token: Token) -> None:
    """Follow a schedule to where the body raises, and let the user look around there.

    Args:
        item: the test.
        body: what its runs do.
        wanted: the program that is this body.
        token: the schedule.
    """
    with _terminal(item.config) as (keyboard, screen):

        def look_around(traceback: TracebackType | None) -> None:
            with open(keyboard, closefd=False) as stdin, open(screen, "w", closefd=False) as stdout:
                stdout.write("\n>>> lab: the schedule leads here\n")
                debugger = pdb.Pdb(stdin=stdin, stdout=stdout)
                debugger.reset()
                debugger.interaction(None, traceback)

        def follow(runner: Runner, _report: object) -> None:
            runner.run(Loosely(token.schedule.deviations), max_steps=token.max_steps)

        around = replace(wanted.limits.surroundings, descriptors=frozenset((keyboard, screen)))
        limits = replace(wanted.limits, seconds=_PATIENCE, surroundings=around)
        body.on_failure = look_around
        try:
            in_controller(follow, wanted.program, limits)
        finally:
            body.on_failure = None
    _keep_quiet(item)


@contextmanager
def _terminal(config: pytest.Config) -> Iterator[tuple[int, int]]:
    """Standard input and output as they were before pytest took them."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.suspend(in_=True)
    keyboard, screen = os.dup(0), os.dup(1)
    try:
        yield keyboard, screen
    finally:
        os.close(keyboard)
        os.close(screen)
        if capture:
            capture.resume()


def _keep_quiet(item: pytest.Function) -> None:
    """The debugger of pytest would open next, in the lab's code, where nothing is to be seen."""
    plugins = item.config.pluginmanager
    plugin = plugins.unregister(name=_PLUGIN)
    if plugin:
        item.addfinalizer(lambda: plugins.register(plugin, _PLUGIN))
