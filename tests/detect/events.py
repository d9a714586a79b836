"""Steps of a controlled run by hand, each as a test tells it."""

from __future__ import annotations

import dataclasses
from typing import Any

from lab.trace import Action, Event, Trace
from tests.detect.builders import run

PLACE = "posix-shm:/n"


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


def read(process: str, value: int, **facts: Any) -> Event:
    """A load of a 32-bit integer."""
    return _event(process, Action.READ, "load", {"size": 4, "before": number(value), **facts})


def write(process: str, old: int, new: int, **facts: Any) -> Event:
    """A store of a 32-bit integer."""
    facts = {"size": 4, "before": number(old), "after": number(new), **facts}
    return _event(process, Action.WRITE, "store", facts)


def update(process: str, old: int, new: int, **facts: Any) -> Event:
    """A locked instruction on a 32-bit integer."""
    facts = {"size": 4, "before": number(old), "after": number(new), **facts}
    return _event(process, Action.UPDATE, "update", facts)


def step(process: str, action: Action, thing: str = "", **facts: Any) -> Event:
    """Any other step, named as its action."""
    return _event(process, action, facts.pop("call", str(action)), {"object": thing, **facts})


def in_order(*events: Event) -> tuple[Event, ...]:
    """The events with the numbers that they have in this order."""
    return tuple(_numbered(event, place) for place, event in enumerate(events))


def controlled(*events: Event, **facts: Any) -> Trace:
    """A controlled run of these steps that completed, unless the facts say otherwise."""
    return run(events=in_order(*events), **{"mode": "controlled", **facts})


def _event(process: str, action: Action, call: str, facts: dict[str, Any]) -> Event:
    facts = {"object": PLACE, **facts}
    return Event(0, process, action, call, **facts)


def _numbered(event: Event, place: int) -> Event:
    return dataclasses.replace(event, step=place)
