"""`python -m benchmarks.sct`: the table of mean schedules to the first bug."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.sct.measure import Search, searches
from benchmarks.sct.programs import PROGRAMS
from benchmarks.sct.table import Row, heading, line, summary
from lab.run.limits import LabError
from lab.search.named import UnknownStrategy, strategy

STRATEGIES = ("random", "pct", "pos", "bounded", "dpor", "auto")
UNSEEDED = frozenset({"bounded", "dpor"})
"""They choose nothing at random: one search tells all."""


def main() -> int:
    """Measure, and print a row as soon as it is known.

    Returns the exit status: 3 if something could not be measured.
    """
    asked = _arguments()
    known = [name for name in asked.strategies if _exists(name)]
    say(heading(known))
    rows: dict[str, Row] = {}
    errors: list[str] = []
    for program in asked.programs:
        row: dict[str, Sequence[Search]] = {}
        for name in known:
            seeds = 1 if name in UNSEEDED else asked.seeds
            try:
                row[name] = searches(
                    PROGRAMS[program], name, seeds=seeds, schedules=asked.schedules
                )
            except LabError as error:
                row[name] = []
                errors.append(f"{program} with {name}: {error}")
        rows[program] = row
        say(line(program, row))
    say(
        f"\nmean schedules to the first bug over {asked.seeds} seeds, each search of at most "
        f"{asked.schedules}; {', '.join(sorted(UNSEEDED))}: one search"
    )
    say(summary(rows))
    say(*errors)
    return 3 if errors else 0


def say(*lines: str) -> None:
    """Print what there is to say, at once: a row may take minutes."""
    for each in lines:
        if each:
            sys.stdout.write(f"{each}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sct", description=__doc__)
    parser.add_argument("--strategies", type=_listed, default=list(STRATEGIES), metavar="A,B")
    parser.add_argument("--programs", type=_programs, default=list(PROGRAMS), metavar="A,B")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--schedules", type=int, default=10_000, help="at most, in each search")
    return parser.parse_args()


def _listed(text: str) -> list[str]:
    return text.split(",")


def _programs(text: str) -> list[str]:
    unknown = [name for name in _listed(text) if name not in PROGRAMS]
    if unknown:
        there = ", ".join(PROGRAMS)
        raise argparse.ArgumentTypeError(f"no program {', '.join(unknown)}; there are: {there}")
    return _listed(text)


def _exists(name: str) -> bool:
    try:
        strategy(name, seed=0)
    except UnknownStrategy as unknown:
        say(f"skipped: {unknown}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
