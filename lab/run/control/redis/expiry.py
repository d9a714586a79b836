"""Times to live, on the virtual clock.

The server counts them on the real one, and no run keeps step with that: a sleep of an hour takes no
time, and a lock for a tenth of a second would run out because the lab is slow. So the lab keeps the
virtual moment at which each key of the run ends. Before a command reaches the server, keys get the
time that they have left on the virtual clock: it is shorter by what that has moved. After the
command it is seen which keys have an end now, and when.

Between two commands the server is told that keys live for long, so that however slow the machine
is, none of them ends before the virtual clock says so.

To set a time to live is a change of the key, for whoever watches it (WATCH). So as long as somebody
does, the server is left alone until the virtual clock moves, or half of a key's time is gone. What
then still ends in real time makes the run an error: the program would be told of an expiry that was
none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.run.control.machine import UnexpectedStopError

if TYPE_CHECKING:
    import redis

_MILLI = 1_000_000
"""Nanoseconds of a millisecond, which is the server's unit."""
_SPARE = 3_600_000
"""Milliseconds that keys are given beside their own between two commands."""
_LEAST = 250
"""Milliseconds that a key which is not gone has at least while a command is done: that takes one,
but on a busy machine it may take many."""
_SHORT = 60_000
"""A key that has more left lives long enough anyway, in a run of some seconds."""
_ROUNDING = 2
"""Milliseconds by which two readings of one end may differ."""

_ENDS = """
local found, cursor = {}, '0'
repeat
  local answer = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
  cursor = answer[1]
  for _, key in ipairs(answer[2]) do
    local left = redis.call('PTTL', key)
    if left >= 0 then
      found[#found + 1] = key
      found[#found + 1] = left
    end
  end
until cursor == '0'
return found
"""
"""Every key with a prefix that has an end, and the milliseconds until then."""

_SET = """
local gone = {}
for index, key in ipairs(KEYS) do
  if redis.call('PEXPIRE', key, ARGV[index]) == 0 then
    gone[#gone + 1] = key
  end
end
return gone
"""
"""Give keys so many milliseconds; those that are not there."""


@dataclass(frozen=True)
class End:
    """When a key is gone, in milliseconds."""

    virtual: int
    """On the virtual clock."""
    earliest: float
    """On the real one, unless the server is told otherwise. It was told, or asked, at some moment
    of a wait for its answer, and on a busy machine that may be long: hence also"""
    latest: float

    def may_be(self, other: End) -> bool:
        """Whether two are the same on the real clock, as far as is known."""
        return (
            self.earliest <= other.latest + _ROUNDING and other.earliest <= self.latest + _ROUNDING
        )


class Expiry:
    """The ends of a run's keys."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client, self._pattern = client, f"{prefix}*"
        self._ends: dict[bytes, End] = {}
        self._began = 0.0
        """When, in real milliseconds, the present command did."""

    @property
    def any(self) -> bool:
        """Whether a key has an end, so that what a command finds depends on the clock."""
        return bool(self._ends)

    def forget(self) -> None:
        """A new run begins, without keys."""
        self._ends.clear()

    def before(self, clock: int) -> None:
        """Make the server's times those of the virtual clock.

        Raises UnexpectedStopError where one ran out that had not yet to.
        """
        now, self._began = clock // _MILLI, _real()
        if all(_in_step(end, now, self._began) for end in self._ends.values()):
            return
        self._set({key: _on_server(end.virtual - now) for key, end in self._ends.items()})

    def _set(self, left: Mapping[bytes, int]) -> None:
        """Give keys so many milliseconds; none: they end."""
        earliest = _real()
        gone = self._client.eval(_SET, len(left), *left, *left.values())
        latest = _real()
        for key in gone:
            if left[key]:
                raise _ran_out(key)
        for key, milliseconds in left.items():
            virtual = self._ends.pop(key).virtual
            if milliseconds:
                self._ends[key] = End(virtual, earliest + milliseconds, latest + milliseconds)

    def after(
        self, clock: int, stated: Mapping[bytes, int], *, certain: bool, watched: bool
    ) -> None:
        """See which keys have an end now that a command was done.

        Args:
            clock: the virtual one, in nanoseconds.
            stated: the milliseconds that the command gives to keys. (What the server tells is less,
                by the real time that it took, and that would be another in the next run.)
            certain: it has done that.
            watched: somebody watches keys, which are to be left alone.

        Raises UnexpectedStopError where it cannot be told whether the command removed a key.
        """
        now, earliest = clock // _MILLI, _real()
        answer = iter(self._client.eval(_ENDS, 0, self._pattern))
        latest = _real()
        left: dict[bytes, int] = dict(zip(answer, answer, strict=True))
        for key, end in self._ends.items():
            if key not in left and end.earliest <= latest:
                raise _ran_out(key)
        for key, milliseconds in stated.items():
            if certain and key not in left and self._began + milliseconds <= latest:
                raise _ran_out(key)
        ends = {}
        for key, milliseconds in left.items():
            virtual = now + stated.get(key, milliseconds + 1)
            found = End(virtual, earliest + milliseconds, latest + milliseconds + 1)
            known = self._ends.get(key)
            same = known is not None and known.may_be(found) and not (certain and key in stated)
            ends[key] = known if known is not None and same else found
        self._ends = ends
        short = {key: end.virtual - now for key, end in ends.items() if end.virtual - now < _SHORT}
        if short and not watched:
            self._set({key: milliseconds + _SPARE for key, milliseconds in short.items()})


def _in_step(end: End, now: int, real: float) -> bool:
    """Whether the server may be left alone with what it takes for the time left."""
    left = end.virtual - now
    return left / 2 <= end.earliest - real <= _on_server(left) + _ROUNDING


def _on_server(virtual: int) -> int:
    """The time to live that the server is told during a command."""
    return max(virtual, _LEAST) if virtual > 0 else 0


def _ran_out(key: bytes) -> UnexpectedStopError:
    return UnexpectedStopError(
        f"the time to live of the key {key.decode(errors='replace')} ran out on the real clock, "
        "since the machine is slow; give it more, or the machine less to do"
    )


def _real() -> float:
    return time.monotonic() * 1000
