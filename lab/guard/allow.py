"""What may be left: entries `KIND` or `KIND:PATTERN`, from the ini file and from markers."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from lab.guard.leak import Kind, Leak

_BUILT_IN = ("fd:/var/lib/sss/*", "fd:/var/run/nscd/*", "fd:/run/nscd/*")
"""Descriptors that the C library keeps open once somebody has asked for a user's name."""


class AllowError(ValueError):
    """An entry that names no kind; the text says what was expected."""


class Allowed:
    """A list of entries; patterns are those of fnmatch, and are compared with the whole name."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Read the entries.

        Raises AllowError.
        """
        self._entries = [_parsed(entry) for entry in (*_BUILT_IN, *entries)]

    def __contains__(self, leak: Leak) -> bool:
        """Whether something may be left."""
        return any(
            kind in ("*", leak.kind) and fnmatch.fnmatchcase(leak.name, pattern)
            for kind, pattern in self._entries
        )


def _parsed(entry: str) -> tuple[str, str]:
    kind, _, pattern = entry.strip().partition(":")
    if kind != "*" and kind not in set(Kind):
        raise AllowError(
            f"lab_guard: {entry!r} allows no kind of leak; write KIND or KIND:PATTERN, "
            f"with one of: {', '.join(Kind)}, *"
        )
    return kind, pattern or "*"
