"""Strategies by the names that the command line knows them by."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.search.auto import Auto
from lab.search.bounded import Bounded
from lab.search.dpor import Dpor
from lab.search.pct import Pct
from lab.search.pos import Pos
from lab.search.random import Random

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.search.strategy import Strategy


DEPTH = 3
"""Of PCT, where none is given."""
PREEMPTIONS = 2
"""Of the bounded search, where none are given."""


@dataclass(frozen=True)
class Settings:
    """What a strategy may want to know; each takes what concerns it."""

    seed: int
    schedules: int = 100
    """How many runs will be made at most."""
    depth: int = DEPTH
    preemptions: int = PREEMPTIONS


_STRATEGIES: Mapping[str, Callable[[Settings], Strategy]] = {
    "auto": lambda settings: Auto(settings.seed, settings.schedules),
    "random": lambda settings: Random(settings.seed),
    "pct": lambda settings: Pct(settings.seed, settings.depth),
    "pos": lambda settings: Pos(settings.seed),
    "bounded": lambda settings: Bounded(settings.preemptions),
    "dpor": lambda _: Dpor(),
}

NAMES = tuple(_STRATEGIES)
DEFAULT = "auto"
"""The strategy where none is named."""
_OWNERS = {"depth": "pct", "preemptions": "bounded"}
"""The strategy that a setting belongs to."""


class UnknownStrategy(LookupError):  # noqa: N818  # the word that a user reads
    """No strategy has that name; the text gives the nearest one, or all."""


class WrongSetting(ValueError):  # noqa: N818  # the same
    """The strategy has no such setting, or not with that value; the text says what would do."""


def strategy(
    name: str,
    *,
    seed: int,
    schedules: int = Settings.schedules,
    depth: int | None = None,
    preemptions: int | None = None,
) -> Strategy:
    """A strategy by its name.

    Args:
        name: one of `NAMES`.
        seed: where its choices begin; the same seed gives the same schedules.
        schedules: how many runs will be made at most.
        depth: of PCT; None: `DEPTH`.
        preemptions: the bound of the bounded search; None: `PREEMPTIONS`.

    Raises UnknownStrategy, and WrongSetting for what the strategy does not take.
    """
    if name not in _STRATEGIES:
        close = difflib.get_close_matches(name.lower(), NAMES, n=1)
        known = f"nearest: {close[0]}" if close else f"there are: {', '.join(NAMES)}"
        raise UnknownStrategy(f"there is no strategy {name!r}; {known}")
    given = _given(depth, preemptions)
    for setting in given:
        if _OWNERS[setting] != name:
            raise WrongSetting(
                f"{setting} is a setting of {_OWNERS[setting]} and means nothing to {name}: leave "
                f"it away, or choose the strategy {_OWNERS[setting]}"
            )
    try:
        return _STRATEGIES[name](Settings(seed, schedules, **given))
    except ValueError as error:
        raise WrongSetting(str(error)) from error


def described(
    name: str, *, seed: int, depth: int | None = None, preemptions: int | None = None
) -> str:
    """The strategy as a report names it, with all that its schedules depend on."""
    match name:
        case "dpor":
            return name
        case "bounded":
            bound = PREEMPTIONS if preemptions is None else preemptions
            return f"{name}, at most {bound} preemption{'s' if bound != 1 else ''}"
        case "pct":
            return f"{name}, depth {DEPTH if depth is None else depth}, seed {seed}"
        case _:
            return f"{name}, seed {seed}"


def _given(depth: int | None, preemptions: int | None) -> dict[str, int]:
    settings = {"depth": depth, "preemptions": preemptions}
    return {name: value for name, value in settings.items() if value is not None}
