"""Every way to run a program: in both isolations, and by an ordinary user too."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.kernel import libc
from lab.run.limits import Isolation, Limits
from lab.run.observe import observe_body
from lab.run.worlds import choose
from lab.trace import Trace
from tests.forked import in_child
from tests.run.looks import counted

NOBODY = "nobody"


@dataclass(frozen=True)
class Sandbox:
    """Runs bodies as one user in one isolation, and sees to it that nothing stays."""

    isolation: Isolation
    user: str
    """"" is whoever runs the tests."""
    tmp: Path

    @property
    def private(self) -> bool:
        """The run has namespaces of its own."""
        return self.isolation is Isolation.NAMESPACES

    def __call__(self, body: Callable[[], Any], **limits: Any) -> Trace:
        """Observe a body, and fail if a process or a temporary file is left."""

        def observed() -> Trace:
            return self.observe(body, **limits)

        trace = in_child(observed, user=self.user) if self.user else observed()
        assert os.listdir(self.tmp) == []
        return trace

    def observe(self, body: Callable[[], Any], **limits: Any) -> Trace:
        """Observe a body as whoever runs this, and fail if a process is left."""
        return _observed(body, self.isolation, Limits(**limits))


def _observed(body: Callable[[], Any], isolation: Isolation, limits: Limits) -> Trace:
    # Whatever the sandbox lets go falls to this process then, and is found.
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    before = psutil.Process().children(recursive=True)
    try:
        trace = observe_body("program", body, limits=limits, isolation=isolation)
    finally:
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 0)
    assert psutil.Process().children(recursive=True) == before
    return trace


@pytest.fixture
def own_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TMPDIR that any user may use, and that nobody else does."""
    with tempfile.TemporaryDirectory(prefix="lab-test.", dir="/tmp") as path:
        os.chmod(path, 0o1777)  # noqa: S103  # as /tmp has it
        monkeypatch.setenv("TMPDIR", path)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(path)


_USERS = ("", "-nobody") if os.geteuid() == 0 else ("",)  # who is ordinary cannot become another
PRIVATE = tuple(f"namespaces{user}" for user in _USERS)
ON_HOST = tuple(f"snapshots{user}" for user in _USERS)
in_private = pytest.mark.parametrize("sandbox", PRIVATE, indirect=True)
"""For a test of what there is in namespaces alone."""
on_host = pytest.mark.parametrize("sandbox", ON_HOST, indirect=True)
"""For a test of what there is without them alone."""


@pytest.fixture(params=(*PRIVATE, *ON_HOST))
def sandbox(
    request: pytest.FixtureRequest, own_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> Sandbox:
    """A sandbox of each kind. A body can call `looks.be_seen`."""
    counted(monkeypatch)
    isolation, _, user = request.param.partition("-")
    made = Sandbox(Isolation(isolation), user, own_tmp)
    if made.private:
        _demand_namespaces(user)
    return made


def _demand_namespaces(user: str) -> None:
    def refusal() -> str:
        return choose(Isolation.AUTO).refusal

    if refused := in_child(refusal, user=user) if user else refusal():
        pytest.skip(f"no namespaces here for {user or 'this user'}: {refused}")
