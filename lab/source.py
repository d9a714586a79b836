"""The code of a scenario, as a reader needs it to learn from the difference between two.

A scenario is a function and what it calls in its own module. Some of that belongs to a bug and its
fixes alone, and is shown with them; the rest is the family's and only named, for it is the same on
both sides. Who calls what is read from the names in the compiled functions.
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.scenario import Scenario


@dataclass(frozen=True)
class Difference:
    """What a fix does otherwise than its bug."""

    lines: tuple[str, ...]
    """Of both, each after a sign: "-" of the bug alone, "+" of the fix alone, " " of both."""
    shared: tuple[str, ...]
    """Names of what they use too, which other scenarios of the family use as well."""


def explanation(scenario: Scenario) -> str:
    """The docstring of a scenario: what goes wrong, when, and what the fix changes."""
    return inspect.getdoc(scenario.body) or ""


def place(body: Callable[..., Any]) -> str:
    """At which "file:line" a function begins, as its steps name it; "" where none is known."""
    while isinstance(body, functools.partial):
        body = body.func
    code = getattr(inspect.unwrap(body), "__code__", None)
    if code is None or code.co_filename.startswith("<"):
        return ""
    path, here = Path(code.co_filename).absolute(), Path.cwd()
    package = body.__module__.count(".") + 1  # an installed one is named as in a checkout
    above = here if path.is_relative_to(here) else Path(*path.parts[:-package])
    return f"{path.relative_to(above)}:{code.co_firstlineno}"


def story(family: Iterable[Scenario]) -> str:
    """The docstring of the module that these scenarios are in; "" without one."""
    return next((inspect.getdoc(_module(each)) or "" for each in family), "")


def difference(bug: Scenario, fix: Scenario, others: Iterable[Scenario]) -> Difference:
    """Compare the code of a bug and of its fix, line by line.

    Args:
        bug: the one side.
        fix: the other.
        others: scenarios of the same family that are no version of this bug. What they use too is
            not shown, but named.
    """
    common = {name for other in others for name in _used(other)}
    sides = [
        [_without_frame(each), *(_text(part) for name, part in used.items() if name not in common)]
        for each, used in ((bug, _used(bug)), (fix, _used(fix)))
    ]
    one, two = ("\n\n".join(side).splitlines() for side in sides)
    lines = list(difflib.unified_diff(one, two, lineterm="", n=len(one) + len(two)))[3:]
    both = dict.fromkeys([*_used(bug), *_used(fix)])
    return Difference(
        tuple(lines) or tuple(f" {line}".rstrip() for line in one),
        tuple(name for name in both if name in common),
    )


def source(member: Scenario, names: Collection[str]) -> str:
    """The code of functions and classes, in the order of the module that a scenario is in."""
    parts = [vars(_module(member))[name] for name in names]
    return "\n\n\n".join(map(_text, sorted(parts, key=_line)))


def _used(scenario: Scenario) -> dict[str, Any]:
    """The functions and classes of its own module that it comes to, in the order of the module."""
    module = _module(scenario)
    found: dict[str, Any] = {}
    waiting = [*_names(scenario.body)]
    while waiting:
        name = waiting.pop()
        part: Any = getattr(module, name, None)
        while hasattr(part, "__wrapped__"):  # by a decorator such as contextmanager
            part = part.__wrapped__
        own = inspect.isfunction(part) or inspect.isclass(part)
        if name not in found and own and part.__module__ == module.__name__:
            found[name] = part
            waiting.extend(_names(part))
    return dict(sorted(found.items(), key=lambda item: _line(item[1])))


def _names(part: Any) -> Iterator[str]:
    """Every name that a function or a class looks up outside."""
    if inspect.isclass(part):
        for member in vars(part).values():
            if inspect.isfunction(member):
                yield from _names(member)
        return
    codes: list[CodeType] = [part.__code__]
    for code in codes:  # grows while it is walked: functions inside functions
        yield from code.co_names
        codes.extend(each for each in code.co_consts if isinstance(each, CodeType))


def _without_frame(scenario: Scenario) -> str:
    """A body without its declaration and its docstring, which are told in words."""
    text = _text(scenario.body)
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.FunctionDef)
    lines = text.splitlines()
    told = node.body[0]
    if ast.get_docstring(node) is not None and told.end_lineno is not None:
        del lines[told.lineno - 1 : told.end_lineno]
    return "\n".join(lines[node.lineno - 1 :])


def _text(part: Any) -> str:
    return textwrap.dedent(inspect.getsource(part)).rstrip()


def _line(part: Any) -> int:
    return inspect.getsourcelines(part)[1]


def _module(scenario: Scenario) -> ModuleType:
    return sys.modules[scenario.body.__module__]
