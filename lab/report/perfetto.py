"""The steps of each run as a Chrome trace, which ui.perfetto.dev and chrome://tracing open.

A run is a group; in it each process is a track and each thing that processes share is one. Time is
the order of the steps, a millisecond for each: by the clock most of them take none, and what a race
turns on is the order. On a track, slices nest strictly: a life encloses its steps, and a zombie
follows the life. Arrows go from the middle of one step to the middle of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab import __version__
from lab.operation import happening
from lab.report.arrows import arrows, wakes
from lab.report.json import encode
from lab.report.lives import lanes
from lab.report.places import places
from lab.report.style import cut, printable
from lab.report.terminal import title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.finding import Finding
    from lab.report.lives import Lane
    from lab.report.story import Report, Story
    from lab.trace import Event

_STEP = 1000
"""Microseconds from one step to the next."""
_SLICE = 800
"""Microseconds that one takes, so that two of them can be told apart."""
_LONGEST = 200


def render(report: Report) -> str:
    """The trace, as JSON."""
    events: list[dict[str, Any]] = []
    for story in report.stories:
        for name, steps, finding in _runs(story):
            run = 1 + max((event["pid"] for event in events), default=0)
            events.extend(_run(run, name, steps, finding))
    document = {"displayTimeUnit": "ms", "otherData": {"lab": __version__}, "traceEvents": events}
    return encode(document, indent=None)


def _runs(story: Story) -> Iterator[tuple[str, Sequence[Event], Finding | None]]:
    """Each run that has steps; several findings may be of the same one."""
    told: set[tuple[Event, ...]] = set()
    for finding in story.result.findings:
        if finding.steps and finding.steps not in told:
            told.add(finding.steps)
            yield f"{title(finding)} {story.result.scenario}", finding.steps, finding
    for led in story.led:
        if led.events:
            yield f"{led.result.verdict} {led.result.scenario}", led.events, None


def _run(
    run: int, name: str, steps: Sequence[Event], finding: Finding | None
) -> Iterator[dict[str, Any]]:
    keys = [i for i, each in enumerate(steps) if finding and each.step in finding.key_steps]
    damage = keys[-1] if keys else None
    drawn = lanes(steps)
    yield _named(run, 0, "process_name", name)
    tracks = {lane.name: track for track, lane in enumerate(drawn, 1)}
    for lane in drawn:
        yield _named(run, tracks[lane.name], "thread_name", lane.name)
        yield from _life(run, tracks[lane.name], lane, len(steps))
    for index, event in enumerate(steps):
        mark = "!" if index == damage else "*" if index in keys else ""
        yield _step(run, tracks[event.process], index, event, mark)
    for number, arrow in enumerate([*arrows(steps, drawn), *wakes(steps)]):
        if arrow.start < arrow.end:
            ends = (("s", arrow.start), ("f", arrow.end))
            for phase, index in ends:
                track = tracks[steps[index].process]
                yield _end(run, track, phase, index, f"{run}.{number}", arrow.kind)
    for track, place in enumerate(places(steps, keys=keys, damage=damage), len(drawn) + 1):
        yield _named(run, track, "thread_name", place.name)
        for span in place.spans:
            end = len(steps) if span.end is None else span.end
            if span.start < end:
                yield _slice(run, track, span.text, span.start * _STEP, end * _STEP)


def _life(run: int, track: int, lane: Lane, length: int) -> Iterator[dict[str, Any]]:
    alive_to = length if lane.ended is None else lane.last + 1
    yield _slice(run, track, lane.name, lane.began * _STEP, alive_to * _STEP)
    buried = length if lane.reaped is None else lane.reaped
    if lane.ended is not None and buried > alive_to:
        yield _slice(run, track, "zombie", alive_to * _STEP, buried * _STEP)


def _step(run: int, track: int, index: int, event: Event, mark: str) -> dict[str, Any]:
    name = f"{mark} {happening(event)}".lstrip()
    told = _slice(run, track, name, index * _STEP, index * _STEP + _SLICE)
    told["cat"] = event.action
    told["args"] = {
        "step": event.step,
        "call": printable(event.call),
        "object": printable(event.object),
        "where": printable(event.where),
        "virtual_seconds": event.time,
    }
    return told


def _slice(run: int, track: int, name: str, start: int, end: int) -> dict[str, Any]:
    return {
        "ph": "X",
        "pid": run,
        "tid": track,
        "name": cut(name, _LONGEST) or "-",
        "ts": start,
        "dur": end - start,
    }


def _end(run: int, track: int, phase: str, index: int, flow: str, kind: str) -> dict[str, Any]:
    told = {
        "ph": phase,
        "pid": run,
        "tid": track,
        "name": kind,
        "cat": "flow",
        "id": flow,
        "ts": index * _STEP + _SLICE // 2,
    }
    # The end belongs to the slice around it, and not to the next that begins.
    return told | {"bp": "e"} if phase == "f" else told


def _named(run: int, track: int, what: str, name: str) -> dict[str, Any]:
    return {
        "ph": "M",
        "pid": run,
        "tid": track,
        "name": what,
        "args": {"name": cut(name, _LONGEST) or "-"},
    }
