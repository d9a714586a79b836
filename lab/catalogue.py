"""Which scenarios there are, found by importing the modules of a package."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import redis_server
from lab.scenario import DeclarationError, Scenario, declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class UnknownName(LookupError):  # noqa: N818  # the word that a user reads
    """No scenario and no family has that name; the text gives the nearest ones."""


class BrokenModule(Exception):  # noqa: N818  # the same
    """A module of the package cannot be imported, so the catalogue would be silently short."""


@dataclass(frozen=True)
class Case:
    """A bug with its fixes, as they are shown together.

    `bug` is None for fixes of a bug that is not among the scenarios at hand.
    """

    bug: Scenario | None
    fixes: tuple[Scenario, ...]

    @property
    def family(self) -> str:
        """The family that the case is shown under: the bug's, or that of its first fix."""
        return self.members[0].family

    @property
    def members(self) -> tuple[Scenario, ...]:
        """The bug, then its fixes."""
        return ((self.bug,) if self.bug else ()) + self.fixes


def catalogue(package: str = "scenarios") -> tuple[Scenario, ...]:
    """Every scenario in the modules of a package, by family, then in order of definition.

    Modules whose name begins with an underscore are helpers and are not looked into.

    Raises BrokenModule if one cannot be imported, DeclarationError if a declaration is wrong.
    """
    found: list[Scenario] = []
    place = importlib.import_module(package)
    for name in sorted(module.name for module in pkgutil.iter_modules(place.__path__)):
        if not name.startswith("_"):
            found.extend(_declared_in(f"{package}.{name}"))
    ids = {scenario.id for scenario in found}
    for scenario in found:
        if scenario.fixes and scenario.fixes not in ids:
            raise DeclarationError(
                f"{scenario.id} fixes {scenario.fixes!r}, which is not there"
                f"{_nearest(scenario.fixes, {name: name for name in ids})}"
            )
    return tuple(found)


def saved_schedules(package: str = "scenarios") -> Path:
    """Where the package keeps, for each of its bugs, a schedule that shows it."""
    return Path(importlib.import_module(package).__path__[0], "schedules")


def select(names: Sequence[str], package: str = "scenarios") -> tuple[Scenario, ...]:
    """The scenarios of these ids and families, in the order asked for; of no names, all.

    Raises UnknownName, and what `catalogue` raises.
    """
    everything = catalogue(package)
    if not names:
        return everything
    chosen: dict[str, Scenario] = {}
    for name in names:
        matches = [scenario for scenario in everything if name in (scenario.id, scenario.family)]
        if not matches:
            raise UnknownName(
                f"there is no scenario {name!r}{_nearest(name, _spellings(everything))}; "
                "`lab list` shows all"
            )
        chosen.update((scenario.id, scenario) for scenario in matches)
    return tuple(chosen.values())


def cases(scenarios: Iterable[Scenario]) -> tuple[Case, ...]:
    """Each bug with its fixes, in the order of the bugs; fixes without their bug come last."""
    scenarios = tuple(scenarios)
    bugs = [scenario for scenario in scenarios if not scenario.fixes]
    known = {bug.id for bug in bugs}
    paired = [Case(bug, tuple(s for s in scenarios if s.fixes == bug.id)) for bug in bugs]
    stray = dict.fromkeys(s.fixes for s in scenarios if s.fixes and s.fixes not in known)
    alone = [Case(None, tuple(s for s in scenarios if s.fixes == bug)) for bug in stray]
    return (*paired, *alone)


def missing(scenario: Scenario) -> tuple[str, ...]:
    """What the scenario needs and this machine lacks: neither importable nor a program in PATH.

    Of a Redis server it says where one could come from.
    """
    needed = tuple(
        need for need in scenario.needs if not _importable(need) and shutil.which(need) is None
    )
    return (*needed, *(redis_server.lacking() if scenario.server else ()))


def _declared_in(module_name: str) -> list[Scenario]:
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BrokenModule(
            f"{module_name} cannot be imported: {error}; install what it needs, then try again"
        ) from error
    found = dict.fromkeys(
        scenario
        for value in vars(module).values()
        # A scenario that was imported from another module belongs to that one.
        if (scenario := declared(value)) and scenario.body.__module__ == module_name
    )
    return list(found)


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # find_spec imports the parent of a dotted name
        return False


def _spellings(scenarios: Iterable[Scenario]) -> dict[str, str]:
    """What a user may have meant, and the name that would have worked."""
    spellings: dict[str, str] = {}
    for scenario in scenarios:
        spellings.setdefault(scenario.name, scenario.id)
        spellings[scenario.family] = scenario.family
        spellings[scenario.id] = scenario.id
    return spellings


def _nearest(name: str, spellings: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(name.lower(), list(spellings), n=4)
    names = list(dict.fromkeys(spellings[each] for each in close))[:3]
    return f"; nearest: {', '.join(names)}" if names else ""
