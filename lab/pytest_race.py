"""A test under control: what the marker `race` does.

The body of the test, unchanged, is run many times as the root of a tree of processes, each time
under another schedule. What any schedule shows fails the test, with the schedule that shows it
again.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from lab.exploration import explore, replay
from lab.finding import Result, Verdict
from lab.pytest_body import Body, replaced, temporary_directory
from lab.pytest_redis import demanded
from lab.pytest_settings import explore_settings, strict
from lab.pytest_surroundings import surroundings
from lab.replayable import of_program
from lab.report.terminal import render
from lab.run.limits import LabError, Limits
from lab.run.root import Function
from lab.search.token import Origin, Source, Token
from lab.target import Explorable, Target, target

_SETTINGS = frozenset(inspect.signature(explore).parameters) - {
    "program",
    "parameters",
    "progress",
    "cluster",  # nobody elsewhere could find the test with its fixtures
}
_REPLAY = "replay"
_UNCONTROLLED = "lab:uncontrolled"


@contextmanager
def under_control(item: pytest.Function, marker: pytest.Mark) -> Iterator[None]:
    """Within this, the item's test is the exploration of its body.

    Args:
        item: a test function.
        marker: says how to explore it.
    """
    body = Body(item)

    def runtest() -> None:
        mistake = ""
        server = "server" if demanded(item) else ""
        try:
            result = _run(
                item,
                Function(item.nodeid, body, server),
                _settings(marker, item.config, item.nodeid),
            )
        except (LabError, LookupError, ValueError) as error:
            mistake = str(error)
        if mistake:  # told by itself, and not as what happened while that was handled
            pytest.fail(f"race: {mistake}", pytrace=False)
        item.user_properties.append(("lab:race", f"{result.verdict}, {result.runs} runs"))
        body.give_up_too(result.output)
        if result.verdict not in (Verdict.PASSED, Verdict.PROVED):
            pytest.fail(render(result), pytrace=False)

    with replaced(item, runtest):
        yield


def at_hand(
    program: Explorable, settings: dict[str, Any], config: pytest.Config
) -> tuple[Target, dict[str, Any]]:
    """A program that a test explores itself, among what the session's fixtures made.

    Args:
        program: see `Explorable`.
        settings: of `lab.explore` or `lab.replay`.
        config: of the session.

    Returns it made ready, and what is left of the settings.

    Raises as `lab.explore` does.
    """
    left = dict(settings)
    parameters, limit = left.pop("parameters", None), left.pop("time_limit", None)
    wanted, around = target(program, parameters, time_limit=limit), surroundings(config)
    if around.objects:
        left |= {"jobs": 1} if "jobs" in left else {}
    return replace(wanted, limits=replace(wanted.limits, surroundings=around)), left


def refused(error: LabError, config: pytest.Config) -> bool:
    """Whether this is about a machine that refuses control, and the user puts up with that."""
    from lab.run.control import ControlRefusedError

    return isinstance(error, ControlRefusedError) and not strict(config)


def _settings(marker: pytest.Mark, config: pytest.Config, name: str) -> dict[str, Any]:
    """How to explore a test: like pytest, it ends with the first thing that is wrong.

    Raises ValueError for what makes no sense.
    """
    if marker.args:
        raise ValueError("write settings by name, as in race(schedules=200)")
    if unknown := set(marker.kwargs) - _SETTINGS - {_REPLAY}:
        known = ", ".join(sorted({*_SETTINGS, _REPLAY}))
        raise ValueError(f"there is no setting {', '.join(sorted(unknown))}; there are: {known}")
    settings = {"stop_at_first": True, **explore_settings(marker.kwargs, config)}
    if config.option.lab_replay is not None:
        settings[_REPLAY] = of_program(config.option.lab_replay, name)
    return settings


def _run(item: pytest.Function, program: Function, settings: dict[str, Any]) -> Result:
    token, limit = settings.pop(_REPLAY, None), settings.pop("time_limit", None)
    around = surroundings(item.config)
    limits = Limits(
        seconds=limit or Limits.seconds,
        scratch=temporary_directory(item),
        surroundings=around,
    )
    if around.objects:
        settings["jobs"] = 1  # two runs at once would meet in them
    wanted = Target(Origin(Source.TEST, (item.nodeid,)), item.nodeid, program, limits)
    try:
        if token is not None:
            result = replay(token, wanted, strict_races=settings.get("strict_races", False))
            if item.config.option.usepdb and result.verdict is Verdict.FAILED:
                _debug(item, wanted, token)
            return result
        return explore(wanted, **settings)
    except LabError as error:
        if not refused(error, item.config):
            raise
        # A property and no warning: it comes back from xdist's workers, and a session that makes
        # errors of warnings is not failed by a machine that the user puts up with.
        item.user_properties.append((_UNCONTROLLED, str(error)))
        return _observed(program, limits)


def _debug(item: pytest.Function, wanted: Target, token: str) -> None:
    from lab.pytest_debugger import debug  # heavy, and seldom wanted

    assert isinstance(wanted.program, Function)
    assert isinstance(wanted.program.body, Body)
    debug(item, wanted.program.body, wanted, Token.read(token))


def uncontrolled(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """What the summary says of tests that ran once and freely: a line for each reason."""
    tests: dict[str, set[str]] = {}
    for report in reports:
        for name, why in report.user_properties:
            if name == _UNCONTROLLED:
                tests.setdefault(str(why), set()).add(report.nodeid)
    for why, names in tests.items():
        verb = f"{len(names)} tests marked `race`" if len(names) > 1 else min(names)
        yield f"{verb} ran once and freely, under no control: {why}"


def _observed(program: Function, limits: Limits) -> Result:
    from lab.run.observe import observe_body
    from lab.verdict import conclude

    began = time.monotonic()
    trace = observe_body(program.name, program.body, server=program.server, limits=limits)
    kept = tuple(each for each in trace.objects if not limits.keeps(each.name))
    trace = replace(trace, objects=kept)
    return conclude([trace], scenario=program.name, seconds=time.monotonic() - began)
