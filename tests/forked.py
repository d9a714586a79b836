"""Run a function in a child process, perhaps as another user, and have its result here."""

from __future__ import annotations

import contextlib
import os
import pickle
import pwd
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from lab.kernel import libc
from lab.kernel.namespaces import World, furnish, leave_host
from lab.run import worlds
from lab.run.limits import Isolation

Result = TypeVar("Result")
_PR_SET_DUMPABLE = 4


def in_child(function: Callable[[], Result], *, user: str = "") -> Result:
    """What the function returns in a forked child; fails if it raises there.

    Args:
        function: what to run.
        user: a name, or a number; "" is whoever runs the tests.

    Forked and not executed: another user could not read the checkout, nor its interpreter, where
    these lie in somebody's home.
    """
    account = _account(user)
    reader, writer = os.pipe()
    child = worlds.fork()
    if child == 0:
        answer = pickle.dumps("the child ended early")
        try:
            if account is not None:
                _become(account)
            answer = pickle.dumps([function()])
        except BaseException:
            answer = pickle.dumps(traceback.format_exc())
            raise
        finally:
            os.close(reader)
            with os.fdopen(writer, "wb") as out:
                out.write(answer)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer_file:
        told = pickle.loads(answer_file.read())  # noqa: S301  # from our own fork
    os.waitpid(child, 0)
    if isinstance(told, str):
        pytest.fail(f"in the child:\n{told}")
    result: Result = told[0]
    return result


@contextlib.contextmanager
def stranger(function: Callable[[], object], *, user: str = "") -> Iterator[int]:
    """A process beside the run that does something of its own; killed in the end."""
    account = _account(user)
    child = worlds.fork()
    if child == 0:
        try:
            if account is not None:
                _become(account)
            function()
        finally:
            traceback.print_exc()
            os._exit(1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def user_of_its_own() -> str:
    """The number of a user who has nothing yet, and of whom no other test knows."""
    return str(30_000 + os.getpid() % 30_000)  # within the 65,536 that a container may have


def _account(user: str) -> tuple[int, int] | None:
    if not user or user.isdigit():
        return (int(user), int(user)) if user else None
    known = pwd.getpwnam(user)
    return known.pw_uid, known.pw_gid


def _become(account: tuple[int, int]) -> None:
    user, group = account
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    # A process that changed its user hides itself in /proc; one that was started by that user, as
    # an ordinary one is, does not.
    libc.prctl(_PR_SET_DUMPABLE, 1)
    os.chdir(tempfile.gettempdir())
    worlds.best.cache_clear()  # what root may do is another question


def in_namespaces(function: Callable[[World], Result]) -> Result:
    """What the function returns as process 1 of a private world; skips where there is none."""
    world = worlds.choose(Isolation.AUTO)
    if not world.private:
        pytest.skip(f"no namespaces here: {world.refusal}")

    def outside() -> Result:
        leave_host(new_user=world.new_user)
        return in_child(lambda: function(furnish(private_files=True)))

    return in_child(outside)
