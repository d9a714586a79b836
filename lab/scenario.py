"""What a scenario declares: a body, what the harness must find in it, which bug it fixes.

A scenario is an ordinary function with plain defaults for its parameters:

    @scenario(expects=["lost-update"])
    def unguarded(writers: int = 3, increments: int = 5) -> Tally: ...

    @scenario(fixes="unguarded")
    def guarded(writers: int = 3, increments: int = 5) -> Tally: ...

Its id is `family.name`: the module's and the function's. Calling the function runs the body in
this very process, without any lab; the harness runs it as the root process of a sandbox.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lab.finding import Kind
from lab.redis_server import RedisServer
from lab.trace import Messages, Tally

Body = Callable[..., Tally | Messages | None]
Value = int | float | bool | str


class DeclarationError(Exception):
    """A scenario, or the value of one of its parameters, is declared wrongly."""


@dataclass(frozen=True)
class Parameter:
    """One knob of a scenario: its name, its type and its default."""

    name: str
    type: type
    default: Value

    def parse(self, text: str) -> Value:
        """Read a value as the command line gives it.

        Raises DeclarationError with what was expected.
        """
        if self.type is bool:
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            if text.lower() in words:
                return words[text.lower()]
        else:
            try:
                value: Value = self.type(text)
            except ValueError:
                pass  # the one complaint below serves every type
            else:
                # No count and no time is infinite, and "nan" is the word for what is none.
                if not isinstance(value, float) or math.isfinite(value):
                    return value
        raise DeclarationError(
            f"{self.name}={text}: {self.name} takes {_ARTICLE[self.type]}, "
            f"for example {self.name}={self.default}"
        )


_ARTICLE = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


@dataclass(frozen=True)
class Scenario:
    """A declared body. Build it with the `scenario` decorator."""

    family: str
    name: str
    body: Body
    expects: frozenset[Kind]
    """Kinds that a run must show; empty for a fix."""
    may_show: frozenset[Kind]
    """Kinds that a run may show beside those, because freely running code decides."""
    fixes: str
    """Id of the bug that this one mends; "" for a bug."""
    parameters: tuple[Parameter, ...]
    needs: tuple[str, ...]
    """What must be there beside the standard library and the lab's own dependencies."""
    zombie_after: float
    time_limit: float
    server: str = ""
    """The parameter that takes a `RedisServer`; "" for a scenario without one."""

    @property
    def id(self) -> str:
        """`family.name`, as every door of the lab spells it."""
        return f"{self.family}.{self.name}"

    @property
    def role(self) -> str:
        """Either "bug" or "fix"."""
        return "fix" if self.fixes else "bug"

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.body) or "").partition("\n")[0]

    def arguments(self, settings: Mapping[str, str]) -> dict[str, Value]:
        """The keyword arguments of a run: the defaults, and `settings` as texts over them.

        Raises DeclarationError for an unknown name or a value of the wrong type.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in settings:
            if name not in known:
                has = ", ".join(known) or "none"
                raise DeclarationError(f"{self.id} has no parameter {name!r}; it has: {has}")
        return {
            name: parameter.parse(settings[name]) if name in settings else parameter.default
            for name, parameter in known.items()
        }


def scenario(
    *,
    expects: Iterable[str] = (),
    fixes: str = "",
    may_show: Iterable[str] = (),
    needs: Iterable[str] = (),
    zombie_after: float = 1.0,
    time_limit: float = 10.0,
) -> Callable[[Body], Body]:
    """Declare a function as a scenario: a bug with what it `expects`, or what `fixes` one.

    Args:
        expects: kinds of finding that every check must show.
        fixes: the bug's name, within this family or as a full id.
        may_show: kinds that a free run shows at times, beside those expected.
        needs: importable names or programs without which it cannot run.
        zombie_after: seconds an exited child may wait to be reaped before it counts.
        time_limit: seconds after which a run is ended.

    A parameter of the type `RedisServer`, which has no default, is a server that the lab provides.

    Raises DeclarationError if it is neither bug nor fix, or both, or a kind is unknown, or another
    parameter lacks a plain default, or if it wants two servers.
    """

    def declare(body: Body) -> Body:
        family = body.__module__.rpartition(".")[2]
        declared = Scenario(
            family=family,
            name=body.__name__,
            body=body,
            expects=_kinds(body, expects),
            may_show=_kinds(body, may_show),
            fixes=f"{family}.{fixes}" if fixes and "." not in fixes else fixes,
            parameters=_parameters(body),
            server=_server(body),
            needs=tuple(needs),
            zombie_after=zombie_after,
            time_limit=time_limit,
        )
        if bool(declared.expects) == bool(declared.fixes):
            raise DeclarationError(
                f"{declared.id}: a scenario either expects findings (a bug) or fixes another"
            )
        body.__scenario__ = declared  # type: ignore[attr-defined]  # functions take attributes
        return body

    return declare


def declared(candidate: object) -> Scenario | None:
    """The declaration that the decorator left on a function, if it did."""
    found = getattr(candidate, "__scenario__", None)
    return found if isinstance(found, Scenario) else None


def _kinds(body: Body, names: Iterable[str]) -> frozenset[Kind]:
    try:
        return frozenset(Kind(name) for name in names)
    except ValueError as unknown:
        raise DeclarationError(
            f"{body.__name__}: {unknown}; kinds are: {', '.join(Kind)}"
        ) from None


def _server(body: Body) -> str:
    servers = [name for name, kind in typing.get_type_hints(body).items() if kind is RedisServer]
    if len(servers) > 1:
        raise DeclarationError(
            f"{body.__name__}: one RedisServer is all that a body is given; it asks for "
            f"{' and '.join(servers)}"
        )
    return next(iter(servers), "")


def _parameters(body: Body) -> tuple[Parameter, ...]:
    hints = typing.get_type_hints(body)
    parameters = []
    for name, parameter in inspect.signature(body).parameters.items():
        kind = hints.get(name, type(parameter.default))
        if kind is RedisServer:
            continue
        if parameter.default is inspect.Parameter.empty or kind not in _ARTICLE:
            raise DeclarationError(
                f"{body.__name__}: parameter {name!r} needs a default and one of the types "
                f"{', '.join(sorted(t.__name__ for t in _ARTICLE))}"
            )
        parameters.append(Parameter(name, kind, parameter.default))
    return tuple(parameters)
