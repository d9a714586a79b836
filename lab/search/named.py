"""Strategies by the names that the command line knows them by."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from lab.search.random import Random

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.search.strategy import Strategy

_STRATEGIES: Mapping[str, Callable[[int], Strategy]] = {"random": Random}

NAMES = tuple(_STRATEGIES)


class UnknownStrategy(LookupError):  # noqa: N818  # the word that a user reads
    """No strategy has that name; the text gives the nearest one, or all."""


def strategy(name: str, *, seed: int) -> Strategy:
    """A strategy by its name.

    Args:
        name: one of `NAMES`.
        seed: where its choices begin; the same seed gives the same schedules.

    Raises UnknownStrategy.
    """
    if name in _STRATEGIES:
        return _STRATEGIES[name](seed)
    close = difflib.get_close_matches(name.lower(), NAMES, n=1)
    known = f"nearest: {close[0]}" if close else f"there are: {', '.join(NAMES)}"
    raise UnknownStrategy(f"there is no strategy {name!r}; {known}")
