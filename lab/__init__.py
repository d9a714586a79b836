"""A test harness and race-condition lab for programs made of several processes."""

import importlib
from typing import TYPE_CHECKING, Any

from lab.finding import Finding, Kind, Result, Verdict
from lab.redis_server import RedisServer
from lab.scenario import scenario
from lab.trace import Messages, Tally, Trace

if TYPE_CHECKING:
    from lab.exploration import explore, replay

__version__ = "0.1.0"

__all__ = [
    "Finding",
    "Kind",
    "Messages",
    "RedisServer",
    "Result",
    "Tally",
    "Trace",
    "Verdict",
    "explore",
    "replay",
    "scenario",
]


if not TYPE_CHECKING:  # for whom a name that is not there is an error

    def __getattr__(name: str) -> Any:
        # Every program under test imports the lab, to declare a scenario; only who explores pays
        # for what it takes to explore.
        if name in ("explore", "replay"):
            return getattr(importlib.import_module("lab.exploration"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
