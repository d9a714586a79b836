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


@dataclass(frozen=True)
class Settings:
    """What a strategy may want to know; each takes what concerns it."""

    seed: int
    schedules: int = 100
    """How many runs will be made at most."""
    depth: int = 3
    """Of PCT."""
    preemptions: int = 2
    """Of the bounded search."""


_STRATEGIES: Mapping[str, Callable[[Settings], Strategy]] = {
    "auto": lambda settings: Auto(settings.seed, settings.schedules),
    "random": lambda settings: Random(settings.seed),
    "pct": lambda settings: Pct(settings.seed, settings.depth),
    "pos": lambda settings: Pos(settings.seed),
    "bounded": lambda settings: Bounded(settings.preemptions),
    "dpor": lambda _: Dpor(),
}

NAMES = tuple(_STRATEGIES)


class UnknownStrategy(LookupError):  # noqa: N818  # the word that a user reads
    """No strategy has that name; the text gives the nearest one, or all."""


def strategy(
    name: str,
    *,
    seed: int,
    schedules: int = Settings.schedules,
    depth: int = Settings.depth,
    preemptions: int = Settings.preemptions,
) -> Strategy:
    """A strategy by its name.

    Args:
        name: one of `NAMES`.
        seed: where its choices begin; the same seed gives the same schedules.
        schedules: how many runs will be made at most.
        depth: of PCT.
        preemptions: the bound of the bounded search.

    Raises UnknownStrategy, and ValueError for a depth or a bound that makes no sense.
    """
    if name in _STRATEGIES:
        return _STRATEGIES[name](Settings(seed, schedules, depth, preemptions))
    close = difflib.get_close_matches(name.lower(), NAMES, n=1)
    known = f"nearest: {close[0]}" if close else f"there are: {', '.join(NAMES)}"
    raise UnknownStrategy(f"there is no strategy {name!r}; {known}")
