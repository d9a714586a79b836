"""How much is done in a pytest session, and who says so.

What is said for this one session (command line, then environment) outranks what stands in a test
(its marker), and that outranks what the project says for all its tests (the profile, then the rest
of `[tool.lab]`). So a test can ask for more than its project gives, and a nightly run for more than
either.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

_TYPES: Mapping[str, type] = {
    "depth": int,
    "jobs": int,
    "max_steps": int,
    "preemptions": int,
    "runs": int,
    "saved": str,
    "schedules": int,
    "seed": int,
    "shrinking": int,
    "stop_at_first": bool,
    "strategy": str,
    "strict": bool,
    "strict_races": bool,
    "time_limit": float,
}
"""What may be set for a session: the settings of `lab.explore`, and two of the plugin's own."""
_OWN = frozenset({"runs", "strict"})
_OPTIONS = ("runs", "schedules", "seed", "jobs")
"""Those that have an option of the command line. (So has `strict`, which is on or not said.)"""
_PROFILES: Mapping[str, Mapping[str, Any]] = {
    "dev": {"schedules": 30},
    "ci": {"schedules": 100, "strict": True},
    "nightly": {"schedules": 2000, "runs": 20, "strict": True},
}
"""Built in, for a project to change. Where no one watches, a test that ran under no control must
not pass for one that did, hence `strict`."""
_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_PROJECT = pytest.StashKey[dict[str, Any]]()


def explore_settings(marked: Mapping[str, Any], config: pytest.Config) -> dict[str, Any]:
    """How to explore a test.

    Args:
        marked: what the test itself says.
        config: of the session.

    Raises ValueError for a setting of the session or the project that makes no sense.
    """
    said = {**_of_project(config), **marked, **_of_session(config)}
    return {name: value for name, value in said.items() if name not in _OWN}


def runs(config: pytest.Config) -> int:
    """Free runs of an observed program whose test does not say.

    Raises as `explore_settings` does.
    """
    return int({"runs": 3, **_of_project(config), **_of_session(config)}["runs"])


def strict(config: pytest.Config) -> bool:
    """Whether a test under control fails where control is refused.

    Raises as `explore_settings` does.
    """
    return bool({**_of_project(config), **_of_session(config)}.get("strict"))


def demand_profile(config: pytest.Config) -> None:
    """Tell at once, not in each test, that the profile asked for cannot be had.

    A session that asks for none does not even read the project's file.

    Raises pytest.UsageError.
    """
    if _profile(config):
        try:
            _of_project(config)
        except ValueError as mistake:
            raise pytest.UsageError(str(mistake)) from None


def _of_session(config: pytest.Config) -> dict[str, Any]:
    said = {}
    for name, kind in _TYPES.items():
        variable = f"LAB_{name.upper()}"
        if text := os.environ.get(variable):
            said[name] = _read(variable, text, kind)
    for name in _OPTIONS:
        value = getattr(config.option, f"lab_{name}")
        if value is not None:
            said[name] = value
    if config.option.lab_strict:
        said["strict"] = True
    return said


def _read(variable: str, text: str, kind: type) -> object:
    try:
        return _WORDS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise ValueError(f"{variable} is {text!r}; it takes {_wanted(kind)}") from None


def _of_project(config: pytest.Config) -> dict[str, Any]:
    known = config.stash.get(_PROJECT, None)
    if known is None:
        known = config.stash[_PROJECT] = _read_project(_file(config), _profile(config))
    return known


def _profile(config: pytest.Config) -> str:
    return str(config.option.lab_profile or os.environ.get("LAB_PROFILE", ""))


def _file(config: pytest.Config) -> Path:
    beside = config.inipath.parent if config.inipath else config.rootpath
    return beside / "pyproject.toml"


def _read_project(file: Path, profile: str) -> dict[str, Any]:
    """What `[tool.lab]` says with this profile; "": with none."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("lab", {})
    except FileNotFoundError:
        table = {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{file.name} cannot be read: {error}") from None
    general = dict(_table(f"{file.name}: [tool.lab]", table))
    profiles = _table(f"{file.name}: [tool.lab.profile]", general.pop("profile", {}))
    _demand_settings(f"{file.name}: [tool.lab]", general)
    for name, settings in profiles.items():
        _demand_settings(f"{file.name}: [tool.lab.profile.{name}]", settings)
    if profile and profile not in {**_PROFILES, **profiles}:
        names = ", ".join(sorted({**_PROFILES, **profiles}))
        raise ValueError(
            f"there is no profile {profile!r}; there are: {names}. {file.name} can declare one: "
            f"[tool.lab.profile.{profile}]"
        )
    settings = {**general, **_PROFILES.get(profile, {}), **profiles.get(profile, {})}
    if "saved" in settings:  # a folder of the project, wherever pytest is started
        settings["saved"] = file.parent / settings["saved"]
    return settings


def _table(place: str, value: object) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{place} is no table")


def _demand_settings(place: str, settings: object) -> None:
    """Raise ValueError for the first thing in a table that does not belong there."""
    for name, value in _table(place, settings).items():
        if name not in _TYPES:
            close = difflib.get_close_matches(name, _TYPES, n=1)
            known = f"nearest: {close[0]}" if close else f"there are: {', '.join(_TYPES)}"
            raise ValueError(f"{place} has no setting {name!r}; {known}")
        kind = _TYPES[name]
        # To Python a bool is an int, and an int is as good as a float.
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits:
            raise ValueError(f"{place}: {name} = {value!r}; it takes {_wanted(kind)}")


def _wanted(kind: type) -> str:
    return {int: "a whole number", float: "a number of seconds", bool: "true or false"}.get(
        kind, "a text"
    )
