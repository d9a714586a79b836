"""How strict the guard is: for the session by the command line or the ini file, or by a marker."""

from __future__ import annotations

import enum
import math
from typing import Any, NamedTuple

import pytest

from lab.guard.allow import Allowed, AllowError


class Mode(enum.StrEnum):
    """What a leak does."""

    OFF = "off"
    WARN = "warn"
    ERROR = "error"


class Settings(NamedTuple):
    """Of one test."""

    mode: Mode
    allowed: Allowed
    patience: float
    """Seconds that things may take to go."""


class Chooser:
    """The session's settings, and those of a test: marker before command line before ini file."""

    def __init__(self, config: pytest.Config) -> None:
        """Read them.

        Raises pytest.UsageError.
        """
        self._entries: list[str] = config.getini("lab_guard_allow")
        window = config.getini("lab_guard_window")
        try:
            mode = Mode(config.option.lab_guard or config.getini("lab_guard"))
            self.session = Settings(mode, Allowed(self._entries), _patience(window))
        except AllowError as wrong:
            raise pytest.UsageError(str(wrong)) from None
        except ValueError:
            raise pytest.UsageError(
                "lab_guard takes off, warn or error, and lab_guard_window milliseconds, in the ini "
                f"file; found {config.getini('lab_guard')!r} and {window!r}"
            ) from None

    def of(self, item: pytest.Item) -> Settings:
        """The settings of a test.

        Raises pytest.UsageError if its marker is wrong.
        """
        marker = item.get_closest_marker("lab_guard")
        if marker is None:
            return self.session
        given = dict(marker.kwargs)
        allow, window = given.pop("allow", ()), given.pop("window", self.session.patience * 1000)
        try:
            entries = [allow] if isinstance(allow, str) else list(map(str, allow))
            mode = Mode(*marker.args) if marker.args else self._of_marker(entries)
            settings = Settings(mode, Allowed([*self._entries, *entries]), _patience(window))
        except (AllowError, ValueError, TypeError) as wrong:
            raise _wrong(item, str(wrong)) from None
        if given:
            raise _wrong(item, f"it was given {', '.join(given)}")
        return settings

    def _of_marker(self, entries: list[str]) -> Mode:
        """A marker that only allows something does not turn the guard on."""
        return self.session.mode if entries or self.session.mode is not Mode.OFF else Mode.WARN


def _patience(window: Any) -> float:
    """Seconds, of milliseconds that somebody wrote. Raises ValueError and TypeError."""
    seconds = float(window) / 1000
    if not 0 <= seconds < math.inf:  # nan would be waited for as well
        raise ValueError(f"a window of {window} milliseconds")
    return seconds


def _wrong(item: pytest.Item, why: str) -> pytest.UsageError:
    return pytest.UsageError(
        f"{item.nodeid}: the marker is lab_guard('off' | 'warn' | 'error', allow=[...], "
        f"window=MILLISECONDS): {why}"
    )
