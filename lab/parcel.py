"""Objects on their way from one process of the lab to another, one after the other.

A stream of bytes does not say where one thing ends, so each goes with its length ahead. What
arrives was sent by the lab itself, from a fork or a process that it has started: only then may it
be unpickled.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable

_LENGTH = struct.Struct("=Q")
_MOST = 1 << 20
"""Bytes to ask for at once."""


class CutOff(EOFError):  # noqa: N818  # what has happened to the parcel
    """Whoever sent it ended in the middle."""


def put(send: Callable[[bytes], object], what: object) -> None:
    """Send an object.

    Args:
        send: sends all of the bytes: a socket's `sendall`, a buffered file's `write`.
        what: anything that can be pickled.

    Raises as `send` does.
    """
    data = pickle.dumps(what)
    send(_LENGTH.pack(len(data)) + data)


def take(receive: Callable[[int], bytes]) -> object:
    """The next object that was sent.

    Args:
        receive: at most so many of the next bytes, or none at the end: a socket's `recv`, a file's
            `read`.

    Raises EOFError where there is nothing more, and CutOff where there is a part.
    """
    header = _exactly(receive, _LENGTH.size)
    if not header:
        raise EOFError
    data = _exactly(receive, _LENGTH.unpack(header)[0]) if len(header) == _LENGTH.size else b""
    if not data:
        raise CutOff
    return pickle.loads(data)  # noqa: S301  # see above


def _exactly(receive: Callable[[int], bytes], size: int) -> bytes:
    """So many bytes; none or, of a header, a part if there are no more."""
    data = b""
    while len(data) < size:
        chunk = receive(min(size - len(data), _MOST))
        if not chunk:
            return data if size == _LENGTH.size else b""
        data += chunk
    return data
