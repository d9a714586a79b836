"""RESP, the protocol of Redis: commands as clients send them, replies as the server does.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

_END = b"\r\n"


class NotRespError(Exception):
    """Bytes that are no RESP: TLS, say, or a command typed by hand."""


@dataclass(frozen=True)
class Word:
    """A word of a command, and where it lies in what was sent."""

    text: bytes
    start: int


Command: TypeAlias = tuple[Word, ...]


@dataclass(frozen=True)
class Failure:
    """An error that the server replied."""

    text: bytes


Reply: TypeAlias = "bytes | int | Failure | list[Reply] | None"


def commands(data: bytes) -> tuple[list[Command], bytes]:
    """The commands that are complete in a part of a stream, and the rest of it.

    Raises NotRespError.
    """
    found: list[Command] = []
    start = 0
    while start < len(data):
        try:
            command, start = _command(data, start)
        except IndexError:  # the rest is still to be sent
            break
        found.append(command)
    return found, data[start:]


def replies(data: bytes) -> list[Reply]:
    """The replies that are complete at the beginning of a part of a stream.

    Raises NotRespError.
    """
    found: list[Reply] = []
    place = 0
    while place < len(data):
        try:
            reply, place = _reply(data, place)
        except IndexError:
            break
        found.append(reply)
    return found


def _command(data: bytes, start: int) -> tuple[Command, int]:
    count, place = _counted(data, start, b"*")
    words = []
    for _ in range(count):
        length, place = _counted(data, place, b"$")
        words.append(Word(_bytes(data, place, length), place))
        place += length + len(_END)
    return tuple(words), place


def _counted(data: bytes, place: int, mark: bytes) -> tuple[int, int]:
    line, after = _line(data, place)
    if line[:1] != mark:
        raise NotRespError(f"{line[:20]!r} where {mark!r} was expected")
    return _number(line[1:]), after


def _line(data: bytes, place: int) -> tuple[bytes, int]:
    end = data.find(_END, place)
    if end < 0:
        raise IndexError
    return data[place:end], end + len(_END)


def _bytes(data: bytes, place: int, length: int) -> bytes:
    if len(data) < place + length + len(_END):
        raise IndexError
    return data[place : place + length]


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise NotRespError(f"{text[:20]!r} where a number was expected") from None


def _reply(data: bytes, place: int) -> tuple[Reply, int]:
    line, after = _line(data, place)
    mark, rest = line[:1], line[1:]
    if mark in (b"+", b",", b"(", b"#"):
        return rest, after
    if mark == b"-":
        return Failure(rest), after
    if mark == b":":
        return _number(rest), after
    if mark == b"_":
        return None, after
    length = _number(rest)
    if mark in (b"$", b"=", b"!"):
        if length < 0:
            return None, after
        text = _bytes(data, after, length)
        return (Failure(text) if mark == b"!" else text), after + length + len(_END)
    if mark in (b"*", b"~", b">", b"%"):
        if length < 0:
            return None, after
        items: list[Reply] = []
        for _ in range(length * (2 if mark == b"%" else 1)):
            item, after = _reply(data, after)
            items.append(item)
        return items, after
    raise NotRespError(f"a reply that begins with {mark!r}")
