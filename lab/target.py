"""What an exploration runs, and how its tokens say where to find that again."""

from __future__ import annotations

import functools
import importlib
import os
import shlex
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lab import redis_server
from lab.finding import Kind
from lab.redis_server import taken_by
from lab.run.limits import LabError, Limits
from lab.scenario import Scenario, declared
from lab.search.token import Origin, Source
from lab.source import place

if TYPE_CHECKING:
    from lab.run.root import Program

Explorable: TypeAlias = "Callable[..., Any] | str | Sequence[str] | Target"
"""A function, declared as a scenario or not; the id of a scenario in the catalogue; a command and
its arguments; or what was made ready before."""

_CATALOGUE = "scenarios"


@dataclass(frozen=True)
class Target:
    """A program to be run under control, with the bounds of one run."""

    origin: Origin
    name: str
    """As results name it."""
    program: Program
    limits: Limits
    parameters: tuple[tuple[str, str], ...] = ()
    """All that it runs with, set or not."""
    lacking: tuple[str, ...] = ()
    """What it needs and this machine has not."""
    strict_races: bool = False
    """It is declared to show a data race, so that one is a finding."""


def target(
    program: Explorable,
    settings: Mapping[str, str] | None = None,
    *,
    time_limit: float | None = None,
) -> Target:
    """Make ready what is to be explored.

    Args:
        program: see `Explorable`.
        settings: parameters of a scenario, as the command line gives them.
        time_limit: seconds of one run; by default what a scenario declares, or 10.

    Raises UnknownName for a scenario that does not exist, DeclarationError for a wrong setting,
    ValueError for settings of what takes none.
    """
    if isinstance(program, Target):
        return program
    if isinstance(program, str):
        return _of_scenario(_in_catalogue(program), settings or {}, time_limit)
    if callable(program):
        scenario = declared(program)
        if scenario is not None:
            return _of_scenario(scenario, settings or {}, time_limit)
    if settings:
        raise ValueError(f"only a scenario takes parameters; {program!r} is none")
    limits = Limits(seconds=time_limit or Limits.seconds)
    return _of_function(program, limits) if callable(program) else _of_command(program, limits)


def found_again(origin: Origin, *, time_limit: float | None = None) -> Target:
    """The program that a token names.

    Raises LabError for a function that has no name to be found by, and what `target` raises.
    """
    match origin.source:
        case Source.SCENARIO:
            return target(origin.name, dict(origin.parameters), time_limit=time_limit)
        case Source.COMMAND:
            return target(origin.words, time_limit=time_limit)
        case Source.FUNCTION:
            return target(_of_token(origin), dict(origin.parameters), time_limit=time_limit)
        case Source.TEST:
            raise LabError(
                f"the token belongs to a test, which only pytest can run: pytest --lab-replay "
                f"TOKEN {shlex.quote(origin.name)}"
            )


def _in_catalogue(name: str) -> Scenario:
    from lab.catalogue import UnknownName, select

    found = select([name])
    if len(found) > 1:
        ids = ", ".join(scenario.id for scenario in found)
        raise UnknownName(f"{name} is a family; one scenario at a time, one of: {ids}")
    return found[0]


def _of_scenario(
    scenario: Scenario, settings: Mapping[str, str], time_limit: float | None
) -> Target:
    from lab.catalogue import missing
    from lab.run.root import Function

    arguments = scenario.arguments(settings)
    parameters = tuple(sorted(settings.items()))
    if scenario.body.__module__.startswith(f"{_CATALOGUE}."):
        origin = Origin(Source.SCENARIO, (scenario.id,), parameters)
    else:  # declared in somebody's tests, where the catalogue does not look
        origin = Origin(Source.FUNCTION, (_name(scenario.body),), parameters)
    return Target(
        origin,
        scenario.id,
        Function(scenario.id, functools.partial(scenario.body, **arguments), scenario.server),
        Limits(seconds=time_limit or scenario.time_limit, zombie_after=scenario.zombie_after),
        tuple((name, str(value)) for name, value in arguments.items()),
        missing(scenario),
        strict_races=Kind.DATA_RACE in scenario.expects,
    )


def _of_function(body: Callable[..., Any], limits: Limits) -> Target:
    from lab.run.root import Function

    origin, server = Origin(Source.FUNCTION, (_name(body),)), taken_by(body)
    return Target(
        origin,
        origin.name,
        Function(origin.name, body, server),
        limits,
        lacking=redis_server.lacking() if server else (),
    )


def _name(body: Callable[..., Any]) -> str:
    if isinstance(body, functools.partial):  # its arguments cannot be found again by a name
        return f"{_name(body.func)}<partial>"
    return f"{body.__module__}:{getattr(body, '__qualname__', type(body).__qualname__)}"


def _of_command(arguments: Sequence[str], limits: Limits) -> Target:
    from lab.run.root import Command

    if not arguments:
        raise ValueError("a command needs at least the program's name")
    command = Command(tuple(arguments))
    return Target(Origin(Source.COMMAND, command.arguments), shlex.join(arguments), command, limits)


def begins(of: Target) -> str:
    """At which "file:line" the program begins; "" of a command."""
    from lab.run.root import Function

    return place(of.program.body) if isinstance(of.program, Function) else ""


def function(name: str) -> Callable[..., Any]:
    """The function "module:qualname".

    Raises LabError if there is none.
    """
    module, _, qualname = name.partition(":")
    if not module or not qualname:
        raise LabError(f"{name} lacks the name of {'the function' if module else 'the module'}")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise LabError(f"there is no module {error.name}, here or installed") from error
        raise LabError(f"{module} cannot be imported: {error}") from error
    except Exception as error:  # whatever a module of a user's may raise when it is imported
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise LabError(
            f"{module} cannot be imported: {type(error).__name__}: {error} "
            f"({os.path.basename(last.filename)}:{last.lineno})"
        ) from error
    try:
        for part in qualname.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise LabError(f"there is no function {qualname} in {module}") from error
    if not callable(found):
        raise LabError(f"{name} is no function")
    return found  # type: ignore[no-any-return]  # checked just above


def _of_token(origin: Origin) -> Callable[..., Any]:
    name = origin.name
    hint = f"give it yourself: lab.replay(token, {name.rpartition(':')[2].rpartition('.')[2]})"
    found = f"be where it can be imported, in the checkout's first directory perhaps; or {hint}"
    if not origin.has_a_name:
        raise LabError(f"the token belongs to {name}, which no name leads to; {hint}")
    try:
        return function(name)
    except LabError as error:
        raise LabError(f"the token belongs to a function: {error}; {found}") from error
