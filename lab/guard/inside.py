"""What a test left inside its own process: descriptors, locks, threads, signal handlers."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Iterator
from types import TracebackType

from lab.guard import singletons
from lab.guard.births import Births
from lab.guard.leak import Birth, Kind, Leak
from lab.guard.look import Look, read


def new(before: Look, now: Look, births: Births) -> Iterator[Leak]:
    """What is there now and was not before."""
    locked: set[int] = set()
    ours = singletons.descriptors()
    for number, (_, inode) in sorted(now.descriptors.items()):
        if before.descriptors.get(number) != now.descriptors[number] and number not in ours:
            leak = _descriptor(number, inode, births)
            if leak is not None:
                yield leak
                locked |= {inode} if leak.kind is Kind.LOCK_HELD else set()
    for line in sorted(now.locks - before.locks):
        kind, _, access, _, place, *_ = line.decode().split()
        inode = int(place.rpartition(":")[2])
        through = None if inode in locked else _through(inode, now)
        if through is not None:
            note = f"{kind} lock for {access.lower()}, fd {through}"
            yield Leak((Kind.LOCK_HELD, through, inode), _target(through), note=note)
    for thread in sorted(now.threads - before.threads):
        yield _thread(thread, births)
    for index, (old, handler) in enumerate(zip(before.handlers, now.handlers, strict=True)):
        if old is not handler and old != handler:
            yield _handler(index + 1, old, handler)


def _descriptor(number: int, inode: int, births: Births) -> Leak | None:
    target = _target(number)
    if not target:
        return None  # closed since the look
    holds = b"\nlock:" in read(f"/proc/self/fdinfo/{number}")
    name = _address(number, target) if target.startswith("socket:") else target
    kind = Kind.LOCK_HELD if holds else Kind.FD
    birth = births.of_descriptor(number, target)
    return Leak((kind, number, inode), name, birth, f"fd {number}")


def _target(number: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""


def _address(number: int, target: str) -> str:
    """A socket with its own address, if it has one."""
    try:
        with socket.socket(fileno=os.dup(number)) as seen:
            address = seen.getsockname()
    except OSError:
        return target
    said = ":".join(map(str, address[:2])) if isinstance(address, tuple) else address
    return f"{target} ({said})" if said and isinstance(said, str) else target


def _through(inode: int, now: Look) -> int | None:
    """The descriptor that a lock was taken through, or another of the same file."""
    return next((n for n, (_, found) in sorted(now.descriptors.items()) if found == inode), None)


def _thread(native: int, births: Births) -> Leak:
    for thread in threading.enumerate():
        if thread.native_id == native:
            birth = births.of_thread(thread)
            owners = filter(None, (births.owners.get(each) for each in _related(thread)))
            birth = Birth(birth.where, birth.owner or next(owners, ""))
            return Leak((Kind.THREAD, native, 0), thread.name, birth, _runs(thread))
    frame = sys._current_frames().get(-native)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    name = frame.f_code.co_qualname if frame else "ended"
    return Leak((Kind.THREAD, native, 0), name, note="started by the module _thread")


def _runs(thread: threading.Thread) -> str:
    """What a thread runs: before 3.12 nothing announces its start, and no better line is known."""
    target = getattr(thread, "_target", None) or type(thread).run
    code = getattr(target, "__code__", None)
    place = f" ({os.path.relpath(code.co_filename)}:{code.co_firstlineno})" if code else ""
    return f"it runs {getattr(target, '__qualname__', target)}{place}"


def related(natives: set[int]) -> set[int]:
    """Ids of the objects that some threads work for."""
    threads = [each for each in threading.enumerate() if each.native_id in natives]
    return {identity for thread in threads for identity in _related(thread)}


def _related(thread: threading.Thread) -> Iterator[int]:
    """Ids of the object whose method it runs, and of those that it was given.

    An executor starts its threads when there is work, in whatever test, and gives each a weak
    reference to itself; a server starts one for each client, and gives it a method of its own.
    """
    target = getattr(thread, "_target", None)
    given = (getattr(target, "__self__", None), *(getattr(thread, "_args", None) or ()))
    for each in given:
        thing = each() if isinstance(each, weakref.ref) else each
        if hasattr(thing, "__dict__"):
            yield id(thing)


def _handler(number: int, old: object, new: object) -> Leak:
    code = getattr(new, "__code__", None)
    where = f"{os.path.relpath(code.co_filename)}:{code.co_firstlineno}" if code else ""
    key = (Kind.SIGNAL_HANDLER, number, id(new))
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"  # one of real time
    note = f"{_told(new)} in place of {_told(old)}"
    return Leak(key, name, Birth(where), note, before=old)


def _told(handler: object) -> str:
    if isinstance(handler, int):
        return signal.Handlers(handler).name
    return (
        "no handler of Python's" if handler is None else getattr(handler, "__name__", "a handler")
    )


def held_by(traceback: TracebackType | None) -> set[int]:
    """Descriptors of files and sockets in the frames of a failure, which pytest keeps alive.

    Where the test does not fail they are closed with the frame: they are the failure's doing.
    """
    held = set()
    while traceback is not None:
        for value in traceback.tb_frame.f_locals.values():
            if isinstance(value, io.IOBase | socket.socket):
                try:
                    held.add(value.fileno())
                except (OSError, ValueError):
                    continue  # closed, or not of a descriptor
        traceback = traceback.tb_next
    return held
