"""The lines of a program round its steps, so that a report can show where they happened."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.trace import Event

_AROUND = 2
_LARGEST = 2_000_000
_WIDEST = 200


def excerpts(events: Iterable[Event]) -> dict[str, dict[int, str]]:
    """For each file that a step names, the lines at its steps and next to them, as they are now.

    A file that cannot be read is left out: then "file:line" has to do.
    """
    wanted: dict[str, set[int]] = defaultdict(set)
    for event in events:
        name, _, line = event.where.rpartition(":")
        if name and line.isdigit():
            wanted[name] |= set(range(int(line) - _AROUND, int(line) + _AROUND + 1))
    shown: dict[str, dict[int, str]] = {}
    for name, numbers in wanted.items():
        if lines := _lines(name):
            own = [number for number in sorted(numbers) if 1 <= number <= len(lines)]
            shown[name] = {number: lines[number - 1][:_WIDEST] for number in own}
    return shown


def _lines(name: str) -> list[str]:
    for path in _places(name):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_size <= _LARGEST:
                return path.read_text(encoding="utf-8", errors="replace").expandtabs().splitlines()
    return []


def _places(name: str) -> Iterator[Path]:
    """Where a file may be: its name is told from here, or from above an installed package."""
    yield Path(name)
    package = name.partition(os.sep)[0]
    if package.isidentifier() and (spec := importlib.util.find_spec(package)):
        for folder in spec.submodule_search_locations or ():
            yield Path(folder).parent / name
