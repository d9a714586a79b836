"""Findings that are known: a gate lets them pass, fails for new ones and names those that are gone.

What makes a finding known again leaves out numbers that are drawn, and that could hide something:
two queues whose names differ by a number look alike. So findings that look alike are counted, and
one more than the baseline has is new.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from lab.finding import Finding, Kind
from lab.known import Known, fingerprint
from lab.report.json import encode, write

_FORMAT = 1


class BadBaseline(ValueError):  # noqa: N818  # the word that a user reads
    """A file that holds no baseline; its text says which, and why."""


class Baseline:
    """What is known, and what of it one command has seen so far."""

    def __init__(self, known: Iterable[Known] = ()) -> None:
        self._entries = tuple(known)
        self._counts = Counter(each.fingerprint for each in self._entries)
        self._seen: Counter[str] = Counter()
        """The most that looked alike in one result: another is of the same runs, or others."""
        self._new: dict[tuple[str, int], Known] = {}

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Raises BadBaseline for a file that holds none, OSError for one that cannot be read."""
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            content = json.loads(text)
            if content["format"] != _FORMAT:
                raise BadBaseline(
                    f"{path} is of format {content['format']}; this lab reads {_FORMAT}"
                )
            return cls(map(_entry, content["known"]))
        except (ValueError, LookupError, TypeError) as error:
            if isinstance(error, BadBaseline):
                raise
            raise BadBaseline(
                f"{path} holds no baseline ({error}); make it anew with --update-baseline"
            ) from error

    def knows(self, program: str, finding: Finding, among: Sequence[Finding] = ()) -> bool:
        """Whether a finding is known.

        Args:
            program: its name.
            finding: one of a result's.
            among: all of them: of those that look alike, the first are known.
        """
        seen = Known.of(program, finding)
        before = itertools.takewhile(lambda each: each != finding, among)
        rank = sum(fingerprint(program, each) == seen.fingerprint for each in before)
        self._seen[seen.fingerprint] = max(self._seen[seen.fingerprint], rank + 1)
        known = rank < self._counts[seen.fingerprint]
        if not known:
            self._new.setdefault((seen.fingerprint, rank), seen)
        return known

    @property
    def new(self) -> tuple[Known, ...]:
        """What was seen and is not known."""
        return tuple(self._new.values())

    def gone(self, programs: Collection[str]) -> tuple[Known, ...]:
        """What is known and was not seen, of the programs that were judged."""
        left = self._counts - self._seen
        missing = []
        for each in self._entries:
            if each.program in programs and left[each.fingerprint]:
                left[each.fingerprint] -= 1
                missing.append(each)
        return tuple(missing)

    def write(self, path: Path, programs: Collection[str]) -> int:
        """Make what was seen the baseline; what is known of other programs stays.

        Gives how many findings it holds then. Raises OSError.
        """
        gone = Counter(self.gone(programs))
        kept = list((Counter(self._entries) - gone).elements())
        known = sorted([*kept, *self.new])
        entries = [{field: getattr(each, field) for field in _FIELDS} for each in known]
        write(path, encode({"format": _FORMAT, "known": entries}))
        return len(known)


_FIELDS = ("fingerprint", "program", "kind", "subject", "object")


def _entry(data: Any) -> Known:
    return Known(
        str(data["program"]),
        Kind(data["kind"]),
        str(data["subject"]),
        str(data["object"]),
        str(data["fingerprint"]),
    )
