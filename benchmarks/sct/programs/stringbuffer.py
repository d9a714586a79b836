"""CB.stringbuffer-jdk1.4: each method is atomic, and append() calls two of another buffer's."""

from __future__ import annotations

from collections.abc import Collection

from benchmarks.sct.shared import beside, cells, lock

_ROOM = 16
_COUNT, _CAPACITY, _CHARACTERS = range(3)


def stringbuffer() -> None:
    """One task appends a buffer to its own while the other empties and refills it.

    Two tasks, one of which is the parent. The bug: between the length and the characters the
    buffer has become shorter.
    """
    buffer = _StringBuffer("buffer", "abc")

    def refill() -> None:
        buffer.erase(0, 3)
        buffer.append("abc")

    with beside(refill):
        _StringBuffer("own").append_buffer(buffer)


class _StringBuffer:
    """A text in shared memory; every public method holds its lock."""

    def __init__(self, name: str, text: str = "") -> None:
        self._lock = lock(name)
        room = _ROOM + len(text)
        self._cells = cells(len(text), room, *map(ord, text), *[0] * _ROOM)

    def length(self) -> int:
        with self._lock:
            return self._cells[_COUNT]

    def characters(self, end: int) -> list[int]:
        with self._lock:
            assert end <= self._cells[_COUNT], "out of range"
            return [self._cells[_CHARACTERS + index] for index in range(end)]

    def append(self, text: str) -> None:
        with self._lock:
            self._see_that_there_is_room(len(text))
            self._add([ord(character) for character in text])

    def append_buffer(self, other: _StringBuffer) -> None:
        with self._lock:
            length = other.length()
            self._see_that_there_is_room(length)
            self._add(other.characters(length))

    def erase(self, start: int, end: int) -> None:
        with self._lock:
            count = self._cells[_COUNT]
            end = min(end, count)
            for place in range(_CHARACTERS, _CHARACTERS + count - end):
                self._cells[place + start] = self._cells[place + end]
            self._cells[_COUNT] -= end - start

    def _see_that_there_is_room(self, more: int) -> None:
        count, capacity = self._cells[_COUNT], self._cells[_CAPACITY]
        if count + more > capacity:
            raise NotImplementedError("the original would grow; here nothing is so long")

    def _add(self, characters: Collection[int]) -> None:
        count = self._cells[_COUNT]
        for place, character in enumerate(characters, _CHARACTERS + count):
            self._cells[place] = character
        self._cells[_COUNT] = count + len(characters)
