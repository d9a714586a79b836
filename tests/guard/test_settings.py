"""Settings that are none are told; which of several counts is held in test_plugin.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.guard.leak import Kind, Leak
from lab.guard.settings import Chooser, Mode, Settings

marker = pytest.mark.lab_guard


def chooser(mode: str = "off", window: str = "100", allow: tuple[str, ...] = ()) -> Chooser:
    """That of a session whose ini file says so."""
    said = {"lab_guard": mode, "lab_guard_window": window, "lab_guard_allow": [*allow]}
    config = SimpleNamespace(getini=said.get, option=SimpleNamespace(lab_guard=None))
    return Chooser(cast("pytest.Config", config))


def of(decorator: pytest.MarkDecorator, session: Chooser | None = None) -> Settings:
    """The settings of a test that is decorated so."""
    item: Any = SimpleNamespace(
        get_closest_marker={"lab_guard": decorator.mark}.get, nodeid="test_it.py::test_it"
    )
    return (session or chooser()).of(item)


def test_a_marker_that_says_nothing_of_it_keeps_the_sessions_patience() -> None:
    assert of(marker("error"), chooser(window="250")).patience == 0.25
    assert of(marker("error", window=0), chooser(window="250")).patience == 0


@pytest.mark.parametrize(
    ("decorator", "mode"),
    [
        (marker(), Mode.WARN),
        (marker(window=5), Mode.WARN),
        (marker(allow="fd"), Mode.OFF),
        (marker("off"), Mode.OFF),
    ],
    ids=lambda given: str(getattr(given, "kwargs", given)),
)
def test_a_marker_turns_the_guard_on_unless_it_only_allows_something(
    decorator: pytest.MarkDecorator, mode: Mode
) -> None:
    assert of(decorator).mode is mode


def test_what_a_marker_allows_comes_beside_what_the_file_allows() -> None:
    settings = of(marker(allow=["thread"]), chooser(allow=("fd:/tmp/*",)))
    assert Leak((Kind.THREAD, 1, 0), "any") in settings.allowed
    assert Leak((Kind.FD, 1, 0), "/tmp/log") in settings.allowed
    assert Leak((Kind.FD, 1, 0), "/var/log") not in settings.allowed


@pytest.mark.parametrize(
    ("decorator", "why"),
    [
        (marker("warn", "error"), ""),
        (marker(allow=5), "not iterable"),
        (marker(allow=[5]), "'5' allows no kind of leak"),
        (marker(window="long"), "could not convert"),
        (marker(window=None), "float"),
        (marker(window=-1), "a window of -1 milliseconds"),
        (marker(window=float("nan")), "a window of nan milliseconds"),
        (marker(window=float("inf")), "a window of inf milliseconds"),
    ],
    ids=lambda given: str(getattr(given, "kwargs", given)),
)
def test_a_marker_that_is_wrong_is_told_with_its_test(
    decorator: pytest.MarkDecorator, why: str
) -> None:
    with pytest.raises(pytest.UsageError, match=rf"^test_it\.py::test_it: the marker is .*{why}"):
        of(decorator)


@pytest.mark.parametrize("window", ["nan", "-5", "inf"])
def test_a_window_in_the_file_that_would_never_end_is_refused(window: str) -> None:
    with pytest.raises(pytest.UsageError, match=f"milliseconds, in the ini file; .*'{window}'"):
        chooser(window=window)
