"""A test as the root of a tree of processes: its body, with the fixtures of its own inside it.

Each run needs fixtures as fresh as the first had them, so those of function scope are set up and
torn down in the root process itself. Wider ones are the test's surroundings: they are set up once,
in pytest's process, and inherited by fork.

To pytest the item stays an ordinary one: only what its `setup`, `runtest` and `teardown` do is
replaced, so all that other plugins hang around these (reports, time limits, -x, xdist) goes on as
ever. It is done with private names of pytest, since no public one sets up a part of an item's
fixtures; they are all in this file.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import pytest

from lab.pytest_redis import GIVEN
from lab.redis_server import RedisServer


class Body:
    """What one run of a test does, from its own fixtures to their teardown."""

    def __init__(self, item: pytest.Function) -> None:
        self._item = item
        self._mark = f"[{uuid.uuid4()}]"
        self.on_failure: Callable[[TracebackType | None], None] | None = None
        """Called in the run, before it is torn down, with where it failed."""

    def __call__(self, server: RedisServer | None = None) -> None:
        """Run the test in this process, as pytest would.

        Args:
            server: what its fixture `race_redis` is to give.

        Raises what the test raises.
        """
        if server is not None:
            self._item.stash[GIVEN] = server
        item, kind, root = self._item, type(self._item), os.getpid()
        try:
            kind.setup(item)
            kind.runtest(item)
            _raise_recorded(item)
        except (pytest.skip.Exception, pytest.xfail.Exception) as given_up:
            sys.stdout.write(f"{self._mark}{type(given_up).__name__}:{given_up.msg}{self._mark}\n")
            raise
        except Exception as error:
            if self.on_failure:
                self.on_failure(error.__traceback__)
            raise
        finally:
            # A child that the test forked and let run on to here is not the one to tidy up.
            if os.getpid() == root:
                item.session._setupstate.teardown_exact(item.parent)  # type: ignore[arg-type]  # a collector will do
                kind.teardown(item)

    def give_up_too(self, output: str) -> None:
        """Skip, or fail as expected, if the test did so in the run that printed this."""
        _, given_up, rest = output.partition(self._mark)
        kind, _, reason = rest.partition(self._mark)[0].partition(":")
        if given_up and kind == pytest.skip.Exception.__name__:
            pytest.skip(reason)
        if given_up:
            pytest.xfail(reason)


@contextmanager
def replaced(item: pytest.Function, runtest: Callable[[], None]) -> Iterator[None]:
    """Let an item do something else as its test, with nothing but its wider fixtures set up."""
    replacements: dict[str, Callable[[], None]] = {
        "setup": lambda: _set_up_surroundings(item),
        "runtest": runtest,
        "teardown": lambda: None,  # done in each run
    }
    vars(item).update(replacements)
    try:
        yield
    finally:
        for name in replacements:
            del vars(item)[name]


def temporary_directory(item: pytest.Function) -> tuple[str, ...]:
    """Where pytest makes an item's temporary directories, which it clears itself; () if nowhere."""
    if "tmp_path_factory" not in item.fixturenames:
        return ()
    request: Any = item._request
    return (str(request.getfixturevalue("tmp_path_factory").getbasetemp()),)


def _set_up_surroundings(item: pytest.Function) -> None:
    request: Any = item._request
    for name in item.fixturenames:
        definitions = item._fixtureinfo.name2fixturedefs.get(name)
        if definitions and definitions[-1].scope not in _own_scopes(item):
            request.getfixturevalue(name)


def _own_scopes(item: pytest.Function) -> tuple[str, ...]:
    # Outside of a class, pytest gives a fixture of class scope to the test itself.
    return ("function",) if item.cls else ("function", "class")


def _raise_recorded(item: pytest.Function) -> None:
    """A unittest.TestCase does not raise what went wrong, pytest's item of it keeps that."""
    for recorded in getattr(item, "_excinfo", None) or ():
        raise recorded.value
