"""Stale write: a process reads a place, another writes it, and the first writes over that.

What the first wrote depends on what it read, and it read too early: the other's update is gone
as if it had never been made. That is a lost update seen in the act, in the events of a controlled
run, with no sum that the program would have to keep.

Events show values and not what was computed from what. A write is taken to depend on an earlier
read of its place *for certain* when the process read nothing else in between: whatever it
computed, it computed from that. If it did read something else, the write *may* depend on the
read; then the stale write explains a sum that fell short or an assertion that failed, and proves
nothing by itself.

It is stale when, at the write, the place does not hold what the process last knew to be in it:
what it read, changed by what it wrote there itself since. So a value that was changed and changed
back hides nothing and is not reported. Where contents are not known, another's write in between
is enough. Programs read and write a value in pieces (`struct` does so byte by byte, and zeroes
them first): reads of neighbouring bytes count as one, and pieces written in a row as one write.

A file has an end, and to find it is to know something too: nothing follows there. Who reads up to
the end, be the file empty or not, or goes there by a seek, and later writes over what another has
put behind it meanwhile, has lost that. A seek to the end tells nothing of the content, only where
the next write goes; so only a write at that very place depends on it, and that one for certain.

Not reported: a blind write, which depends on nothing and means to overwrite; and an atomic
instruction, between whose read and write nothing comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.trace import Action, Event

_REMEMBERED = 64
"""Reads remembered for each process and object: a sweep over an array must not cost its square."""
_LONGEST = 64
"""Bytes of a place whose value is told."""
_RENAMES = ("rename", "renameat", "renameat2")
"""They make a path mean other content, at once and whatever was there."""
_OF_ATTRIBUTES = frozenset(
    """
    chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat
    setxattr lsetxattr fsetxattr removexattr fremovexattr
    """.split()  # noqa: SIM905  # to be read
)
"""They write, but not into the content."""
_SEEK = "lseek"
"""It counts as a read where it goes to the end, which depends on what others have written."""

Content = dict[int, int]
"""What is known to be in an object: bytes, by their offset."""


@dataclass(frozen=True)
class StaleWrite:
    """An update that was lost: the three steps that make it, and the three values.

    A value is b"" where it is not known, or too long to tell.
    """

    read: Event
    """What the late writer knew."""
    overwritten: Event
    """What it did not know, and wrote over."""
    late: Event
    """The step that completed the late write."""
    certain: bool
    """The late writer read nothing else in between."""
    offset: int
    """Where in the object the place begins; for what lies behind the end, where that was."""
    behind_end: bool = False
    """What was read is that the file ends there; nothing of its content."""
    was_read: bytes = b""
    was_there: bytes = b""
    is_there: bytes = b""

    @property
    def steps(self) -> tuple[int, int, int]:
        """The three, in order."""
        return (self.read.step, self.overwritten.step, self.late.step)


@dataclass
class _Reading:
    """What a process knows of a place since it read it."""

    event: Event
    start: float
    end: float
    since: int
    """The step up to which it knows everything."""
    known: Content
    ends: bool = False
    """It came to the end of the file: nothing follows."""
    beside: _Reading | None = None
    """Of one that found only the end: what the process had read before it."""
    value: Content = field(default_factory=dict)
    """What it read: `known` as it was then."""
    used: bool = False
    """The process has written since, so that a further read begins something new."""
    told: bool = False

    @property
    def behind(self) -> float:
        """Up to where it knows what there is."""
        return math.inf if self.ends else self.end

    @property
    def sought(self) -> bool:
        """It tells where the next write goes, and no more."""
        return self.event.call == _SEEK


def stale_writes(events: Sequence[Event]) -> Iterator[StaleWrite]:
    """Every stale write of a run, at most one for each read, in order of the late writes."""
    readings: dict[tuple[str, str], list[_Reading]] = {}
    latest: dict[str, _Reading] = {}
    writes: dict[str, list[Event]] = {}
    contents: dict[str, Content] = {}
    for index, event in enumerate(events):
        if event.result is not None and event.result < 0:
            continue
        known_of_place = readings.setdefault((event.process, event.object), [])
        content = contents.setdefault(event.object, {})
        content.update(_bytes(event, event.before))
        if event.action is Action.READ:
            found = _read(known_of_place, event, latest.get(event.process))
            if found is not None:
                latest[event.process] = found
        elif event.action is Action.UPDATE:
            # It read for itself, and wrote at once: what was known before is of no use now.
            known_of_place[:] = [known for known in known_of_place if not _common(known, event)]
        elif _writes(event):
            reading = next((r for r in reversed(known_of_place) if _common(r, event)), None)
            if reading is not None and not reading.told:
                hidden = _overwritten(reading, event, writes.get(event.object, ()), content)
                if hidden is not None:
                    reading.told = True
                    certain = _is_certain(reading, latest.get(event.process))
                    yield _stale_write(reading, hidden, events[index:], content, certain=certain)
            _learn(known_of_place, event)
        if event.action is Action.UPDATE or _writes(event):
            writes.setdefault(event.object, []).append(event)
            _apply(content, event)


def _read(known_of_place: list[_Reading], event: Event, latest: _Reading | None) -> _Reading | None:
    """Remember what a read brought; None: no content."""
    if not _brought_something(event):
        if _found_end(event):
            _read_end(known_of_place, event, latest)
        return None
    start, end = _extent(event)
    read = _bytes(event, event.before)
    if (
        latest is not None
        and any(latest is known for known in known_of_place)
        and not latest.used
        and (start == latest.end or end == latest.start)
    ):
        latest.ends = latest.ends and start != latest.end
        latest.start, latest.end = min(start, latest.start), max(end, latest.end)
        latest.known.update(read)
        latest.value.update(read)
        return latest
    reading = _Reading(event, start, end, event.step, read, value=read.copy())
    _remember(known_of_place, reading)
    return reading


def _read_end(known_of_place: list[_Reading], event: Event, latest: _Reading | None) -> None:
    """The end of a file was found, by a read that brought nothing or by a seek."""
    end = event.result if event.call == _SEEK and event.result is not None else event.offset
    reading = _Reading(event, end, end, event.step, {}, ends=True, beside=latest)
    if (
        reading.sought
        or latest is None
        or not any(latest is known for known in known_of_place)
        or latest.used
        or latest.end != end
    ):
        _remember(known_of_place, reading)
    else:
        latest.ends = True  # the last read of those that read a file up to its end


def _remember(known_of_place: list[_Reading], reading: _Reading) -> None:
    """In the place of those that it covers; a seek covers but seeks."""
    known_of_place[:] = [
        r
        for r in known_of_place
        if r.start < reading.start or reading.behind < r.behind or r.sought is not reading.sought
    ]
    del known_of_place[: 1 - _REMEMBERED]
    known_of_place.append(reading)


def _is_certain(reading: _Reading, latest: _Reading | None) -> bool:
    """Whether what is written there depends on that reading, whatever else was read."""
    return reading.sought or latest is reading or latest is reading.beside


def _learn(known_of_place: list[_Reading], own_write: Event) -> None:
    """A process knows what it wrote itself; and after a seek it goes on where that ended."""
    if _only_cuts(own_write):
        # Whatever it writes now at the end that it went to: it is by the cut that others lose.
        known_of_place[:] = [reading for reading in known_of_place if not reading.sought]
    for reading in known_of_place:
        common = _common(reading, own_write)
        if not common:
            continue
        reading.used, reading.since = True, own_write.step
        _apply(reading.known, own_write)
        if reading.sought:
            reading.start = reading.end = common[1]


def _overwritten(
    reading: _Reading, late: Event, writes: Sequence[Event], content: Content
) -> Event | None:
    """The last write by another that the reader does not know of and now destroys."""
    common = _common(reading, late)
    if common is None:
        return None
    cut = False
    read, behind = (common[0], reading.end), (max(common[0], reading.end), common[1])
    for write in reversed(writes):
        if write.step < reading.since:
            return None
        if write.process == late.process:
            continue
        here, there = _within(write, read), _within(write, behind)
        if here and not _as_known(reading, content, (read[0], min(common[1], read[1]))):
            return write
        cut = cut or _only_cuts(write)
        if there and not cut and not _as_known(reading, content, there):
            return write
    return None


def _only_cuts(write: Event) -> bool:
    """It puts nothing behind the end, and what had been put there before is gone."""
    return write.size == 0 and write.call not in _RENAMES


def _as_known(reading: _Reading, content: Content, common: tuple[float, float]) -> bool:
    """Whether, just before the late write, the place held what its writer believed."""
    compared = [o for o in content.keys() & reading.known if common[0] <= o < common[1]]
    if any(content[offset] != reading.known[offset] for offset in compared):
        return False
    return len(compared) == common[1] - common[0]


def _stale_write(
    reading: _Reading,
    hidden: Event,
    coming: Sequence[Event],
    content: Content,
    *,
    certain: bool,
) -> StaleWrite:
    """Put together what is told; the late write is complete with the last of its pieces."""
    late = coming[0]
    new = content.copy()
    for event in coming:
        if event.process != late.process:
            continue
        if event.object != late.object or not _writes(event) or not _common(reading, event):
            break
        late = event
        _apply(new, event)
    start, end = reading.start, reading.end
    if hidden.size and hidden.offset >= end:
        values = (b"", hidden.after, late.after)
        return StaleWrite(reading.event, hidden, late, certain, int(end), True, *values)
    return StaleWrite(
        reading.event,
        hidden,
        late,
        certain,
        int(start),
        False,
        _value(reading.value, start, end),
        _value(content, start, end),
        _value(new, start, end),
    )


def _brought_something(event: Event) -> bool:
    """Asking for a file's size, or reading at its end, teaches nothing about its content."""
    return event.size > 0 and event.result != 0


def _found_end(event: Event) -> bool:
    """It read where nothing follows, or went to the end."""
    return event.call == _SEEK or (event.size > 0 and event.result == 0)


def _writes(event: Event) -> bool:
    if event.action is Action.CREATE:
        return event.call in _RENAMES
    return event.action is Action.WRITE and event.call not in _OF_ATTRIBUTES


def _extent(event: Event) -> tuple[float, float]:
    """From which offset up to which; a write without a size (truncate, rename) is of everything."""
    if event.size == 0:
        return 0, math.inf
    return event.offset, event.offset + (event.result or event.size)


def _common(reading: _Reading, event: Event) -> tuple[float, float] | None:
    if reading.sought:
        is_there = event.size > 0 and event.offset == reading.start
        return _extent(event) if is_there else None
    return _within(event, (reading.start, reading.behind))


def _within(event: Event, place: tuple[float, float]) -> tuple[float, float] | None:
    """Which part of a place an event is of; None: of none."""
    start, end = _extent(event)
    start, end = max(start, place[0]), min(end, place[1])
    return (start, end) if start < end else None


def _bytes(event: Event, data: bytes) -> Content:
    return dict(enumerate(data, event.offset))


def _apply(content: Content, write: Event) -> None:
    """Change the content as a write did; what it wrote and did not show is unknown then."""
    start, end = _extent(write)
    if end - start > len(write.after):
        for offset in [offset for offset in content if start <= offset < end]:
            del content[offset]
    content.update(_bytes(write, write.after))


def _value(content: Content, start: float, end: float) -> bytes:
    if end - start > _LONGEST:
        return b""
    value = [content.get(offset) for offset in range(int(start), int(end))]
    return b"" if None in value else bytes(byte for byte in value if byte is not None)
