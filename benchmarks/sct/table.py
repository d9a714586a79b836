"""The table: what was measured, beside what is published."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.sct.measure import Search
from benchmarks.sct.published import COLUMNS, best, published

_NAME, _CELL, _FIGURE = 13, 13, 7
_NONE = "-"
OURS = "auto"
"""The strategy that is to be as good as the best of the others."""
MARK = "*"

Row = Mapping[str, Sequence[Search]]
"""For each strategy its searches of one program; none if there was an error."""


def heading(strategies: Sequence[str]) -> str:
    """The two lines above the rows."""
    ours = "".join(f"{name:>{_CELL}}" for name in strategies)
    theirs = "".join(f"{name:>{_FIGURE}}" for name in COLUMNS)
    line = f"{'program':{_NAME}}{ours}  |{theirs}  |  stops/run  runs/s"
    return f"{line}\n{'-' * len(line)}"


def line(program: str, row: Row) -> str:
    """One program: the mean schedules to its bug for each strategy, the published ones, the cost.

    `312 7/20` says that 7 of 20 searches found the bug, and needed 312 on the average; those
    that gave up are not in the mean.
    """
    ours = "".join(_cell(program, name, searches) for name, searches in row.items())
    theirs = "".join(f"{_NONE if f is None else f:>{_FIGURE}}" for f in published(program))
    return f"{program:{_NAME}}{ours}  |{theirs}  |{_cost(row)}"


def summary(rows: Mapping[str, Row]) -> str:
    """On how many programs ours is at or below the best published figure, and where it is not."""
    compared = [name for name, row in rows.items() if best(name) is not None and OURS in row]
    if not compared:
        return ""
    behind = [name for name in compared if not as_good(name, rows[name][OURS])]
    told = f"{MARK} {OURS} is at or below the best published figure on"
    told = f"{told} {len(compared) - len(behind)} of {len(compared)} programs"
    return f"{told}; not on {', '.join(behind)}" if behind else told


def as_good(program: str, searches: Sequence[Search]) -> bool:
    """Whether all found the bug, with no more schedules than the best published figure."""
    figure = best(program)
    if figure is None or not searches or not all(search.found for search in searches):
        return False
    # Published figures are rounded, so ours is too.
    return round(_mean(searches)) <= figure


def _mean(searches: Sequence[Search]) -> float:
    return statistics.fmean(search.runs for search in searches if search.found)


def _cell(program: str, strategy: str, searches: Sequence[Search]) -> str:
    mark = MARK if strategy == OURS and as_good(program, searches) else ""
    return f"{' '.join(_told(searches)) + mark:>{_CELL}}"


def _told(searches: Sequence[Search]) -> Iterator[str]:
    if not searches:
        yield "error"
        return
    found = sum(search.found for search in searches)
    if found:
        mean = _mean(searches)
        yield f"{mean:.1f}" if mean < 10 else f"{mean:.0f}"  # noqa: PLR2004  # two digits
    else:
        yield _NONE
    if found < len(searches):
        yield f"{found}/{len(searches)}"


def _cost(row: Row) -> str:
    every = [search for searches in row.values() for search in searches]
    runs, seconds = sum(s.runs for s in every), sum(s.seconds for s in every)
    if not runs or not seconds:
        return f"{_NONE:>11}{_NONE:>8}"
    return f"{sum(s.stops for s in every) / runs:>11.0f}{runs / seconds:>8.0f}"
