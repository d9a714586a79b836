"""What a test left inside its own process: descriptors, locks, threads, signal handlers."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from types import FrameType

from lab.guard import singletons
from lab.guard.births import Births, is_machinery
from lab.guard.leak import Birth, Kind, Leak
from lab.guard.look import Look, locks_through
from lab.guard.owners import may_make


def new(before: Look, now: Look, births: Births) -> Iterator[Leak]:
    """What is there now and was not before."""
    held = now.descriptors
    fresh = {each: held[each] for each in held if before.descriptors.get(each) != held[each]}
    ours = singletons.descriptors() | singletons.of_libuv(fresh)
    for number, (_, inode) in sorted(fresh.items()):
        if number not in ours:
            leak = _descriptor(number, inode, births)
            if leak is not None:
                yield leak
    for number, line in sorted(now.locks - before.locks):
        # One that is new is told as a lock already.
        if number in before.descriptors and before.descriptors[number] == now.descriptors[number]:
            kind, _, access, *_ = line.split()
            note = f"{kind} lock for {access.lower()}, fd {number}"
            key = (Kind.LOCK_HELD, number, now.descriptors[number][1])
            yield Leak(key, _target(number), note=note)
    for thread in sorted(now.threads - before.threads - singletons.threads()):
        yield _thread(thread, births)
    for index, (old, handler) in enumerate(zip(before.handlers, now.handlers, strict=True)):
        # One of pytest-timeout's goes with the test's failure.
        if old != handler and not any(map(is_machinery, (old, handler))):
            yield _handler(index + 1, old, handler, births)


def _descriptor(number: int, inode: int, births: Births) -> Leak | None:
    target = _target(number)
    if not target:
        return None  # closed since the look
    name = target
    if target.startswith("socket:"):
        if _is_of_libc(number, births):
            return None
        name = _address(number, target)
    kind = Kind.LOCK_HELD if locks_through(number) else Kind.FD
    birth = births.of_descriptor(number, target)
    return Leak((kind, number, inode), name, birth, f"fd {number}")


def _target(number: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""


def _is_of_libc(number: int, births: Births) -> bool:
    """Whether it is the C library's, which opens one for `mq_notify` with threads and keeps it.

    One of Python's would have been announced.
    """
    try:
        with socket.socket(fileno=os.dup(number)) as seen:
            return seen.family == socket.AF_NETLINK and number not in births.numbered()
    except OSError:
        return False


def _address(number: int, target: str) -> str:
    """A socket with its own address, if it has one."""
    try:
        with socket.socket(fileno=os.dup(number)) as seen:
            address = seen.getsockname()
    except OSError:
        return target
    said = ":".join(map(str, address[:2])) if isinstance(address, tuple) else address
    return f"{target} ({said})" if said and isinstance(said, str) else target


def _thread(native: int, births: Births) -> Leak:
    owners = filter(None, map(births.owners.of, served({native})))
    for thread in threading.enumerate():
        if thread.native_id == native:
            birth = births.of_thread(thread)
            birth = Birth(birth.where, birth.owner or next(owners, ""))
            return Leak((Kind.THREAD, native, 0), thread.name, birth, _runs(thread, births))
    frame = _outermost(native)
    name = frame.f_code.co_qualname if frame else "ended"
    birth = Birth(owner=next(owners, ""))
    return Leak((Kind.THREAD, native, 0), name, birth, "started by the module _thread")


def _outermost(native: int) -> FrameType | None:
    """Where a thread began that threading does not know; its number is minus its ident."""
    frame = sys._current_frames().get(-native)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _runs(thread: threading.Thread, births: Births) -> str:
    """What a thread runs: before 3.12 nothing announces its start, and no better line is known."""
    target = getattr(thread, "_target", None) or type(thread).run
    code = getattr(target, "__code__", None)
    place = f" ({births.short(code.co_filename)}:{code.co_firstlineno})" if code else ""
    return f"it runs {getattr(target, '__qualname__', target)}{place}"


def served(natives: set[int]) -> Iterator[object]:
    """The objects that some threads work for: whose method each runs, and what it was given.

    An executor starts its threads when there is work, in whatever test, and gives each a weak
    reference to itself; a server starts one for each client, and gives it a method of its own.
    """
    given: list[object] = []
    for thread in threading.enumerate():
        if thread.native_id in natives:
            target = getattr(thread, "_target", None)
            given += [getattr(target, "__self__", None), *(getattr(thread, "_args", None) or ())]
    for native in natives:
        if (frame := _outermost(native)) is not None:
            names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
            given += [frame.f_locals.get(name) for name in names]
    for each in given:
        thing = each() if isinstance(each, weakref.ref) else each
        if may_make(thing):
            yield thing


def _handler(number: int, old: object, new: object, births: Births) -> Leak:
    code = getattr(new, "__code__", None)
    where = f"{births.short(code.co_filename)}:{code.co_firstlineno}" if code else ""
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


def let_go(failure: BaseException) -> None:
    """Let the frames of a failure forget their variables, which pytest keeps alive with it.

    What these hold would have been closed if the test had not failed. Its report has been written,
    and whoever wanted to look at the frames in a debugger has done so.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [failure]
    while waiting:
        error = waiting.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            traceback.clear_frames(error.__traceback__)
            for frame, _ in traceback.walk_tb(error.__traceback__):
                # Before 3.13 whoever asked for the variables has left a copy in the frame, which is
                # brought up to date when somebody asks again.
                _copy = frame.f_locals
            waiting += [error.__context__, error.__cause__]
