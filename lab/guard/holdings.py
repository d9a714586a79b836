"""What wider fixtures have, and what that leads to: it is theirs, in whatever test it was made.

A group, a pool or a client makes things when it is asked to: a process with its pipes, a
connection, a thread that serves it. Where the interpreter announces that, the object whose method
it was tells whose it is. But nobody announces pipes, nor a thread before Python 3.12, and a list
has no methods of its own. What is to end a thing has to lead to it, though. So when something was
left that nobody claims, and not before, the objects that a fixture's value refers to are walked,
the nearest first.

The walk asks the garbage collector who refers to what, and runs no code of the program, whose
`fileno` or `__getattr__` may do anything. Classes, modules and functions lead to everything, and so
do pytest's own objects: the walk goes round them.
"""

from __future__ import annotations

import contextlib
import gc
import io
import select
import socket
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from lab.guard import inside
from lab.guard.leak import Kind, Leak
from lab.guard.owners import Owners, may_make

_MOST = 20_000
"""Objects that are walked for one fixture."""
_HELD = (Kind.FD, Kind.THREAD, Kind.CHILD, Kind.ZOMBIE)
_ENDS = (type, ModuleType, FunctionType, CodeType, FrameType)
_PYTEST = frozenset(("_pytest", "pytest", "pluggy"))
_KEEPERS: dict[type, Callable[[Any], int]] = {
    io.FileIO: io.FileIO.fileno,
    socket.socket: socket.socket.fileno,
    select.epoll: select.epoll.fileno,
}
"""What keeps a descriptor; buffers and texts lead to the first."""


class Holdings:
    """The values of the wider fixtures that live, and what the setting up of each assigned."""

    def __init__(self, owners: Owners) -> None:
        """Begin with none."""
        self._owners = owners
        self._values: dict[str, list[Callable[[], object]]] = {}
        self._makers: dict[str, set[int]] = {}

    def add(self, owner: str, value: object, place: object, before: Mapping[str, object]) -> None:
        """A fixture was set up.

        Args:
            owner: which one.
            value: what it gave.
            place: the class or the module that it was set up for: a setUpClass gives nothing, and
                assigns to its class.
            before: the variables of that, when it began.
        """
        now = dict(getattr(place, "__dict__", {}))
        names = [name for name, each in now.items() if before.get(name, before) is not each]
        # Asked for by name each time, since what was replaced is not to live on for the guard.
        roots: list[Callable[[], object]]
        roots = [lambda: value, *(partial(_variable, place, name) for name in names)]
        self._values.setdefault(owner, []).extend(roots)
        for root in roots:
            given = root()
            if may_make(given):
                self.note(owner, filter(may_make, (given, *_attributes(given))))

    def note(self, owner: str, things: Iterator[object]) -> None:
        """What the methods of these objects make from now on is this fixture's."""
        for each in things:
            # A client has its pool for an attribute: it stays that of the pool's own fixture.
            if self._owners.add(each, owner):
                self._makers.setdefault(owner, set()).add(id(each))
                with contextlib.suppress(TypeError):  # one without weak references
                    weakref.finalize(each, self._owners.forget, id(each)).atexit = False

    def drop(self, owner: str) -> None:
        """It is finished."""
        self._values.pop(owner, None)
        for identity in self._makers.pop(owner, ()):
            self._owners.forget(identity)

    def claimed(self, found: list[Leak]) -> list[Leak]:
        """What was found, each with the fixture whose value leads to it."""
        if not any(leak.kind in _HELD and not leak.birth.owner for leak in found):
            return found
        held: dict[Kind, dict[int, str]] = {kind: {} for kind in _HELD}
        for owner, roots in self._values.items():
            for thing in _walked([root() for root in roots]):
                held[Kind.THREAD].setdefault(id(thing), owner)
                for kind, number in _kept(thing):
                    held[kind].setdefault(number, owner)
        claimed = []
        for leak in found:
            owners: Iterator[str] = iter(())
            if leak.kind is Kind.THREAD:
                served = inside.served({int(leak.key[1])})
                owners = (held[Kind.THREAD].get(id(each), "") for each in served)
            elif leak.kind in _HELD:
                owners = iter([held[leak.kind].get(int(leak.key[1]), "")])
            claimed.append(owned(leak, next(filter(None, owners), "")))
        return claimed


def owned(leak: Leak, owner: str) -> Leak:
    """A leak with its owner, if it has none."""
    return replace(leak, birth=leak.birth._replace(owner=leak.birth.owner or owner))


def _variable(place: object, name: str) -> object:
    return vars(place).get(name)


def _walked(roots: list[object]) -> list[object]:
    """The objects, and what they refer to; all alive, so that each has its id."""
    found: list[object] = []
    known: set[int] = set()
    waiting = deque(roots)
    while waiting and len(found) < _MOST:
        thing = waiting.popleft()
        if id(thing) not in known and not _leads_everywhere(thing):
            known.add(id(thing))
            found.append(thing)
            waiting += gc.get_referents(thing)
    return found


def _kept(thing: object) -> Iterator[tuple[Kind, int]]:
    """The descriptor that an object keeps open, or the child that it is to wait for."""
    sort = type(thing)  # isinstance would ask the object for its class
    for keeper, number in _KEEPERS.items():
        if issubclass(sort, keeper):
            with contextlib.suppress(ValueError):  # it is closed
                yield Kind.FD, number(thing)
    if issubclass(sort, _waiters()):
        pid = object.__getattribute__(thing, "__dict__").get("pid")
        if isinstance(pid, int):
            yield from ((Kind.CHILD, pid), (Kind.ZOMBIE, pid))


def _waiters() -> tuple[type, ...]:
    """Classes of objects that started a process; one that nobody imported started none."""
    modules = map(sys.modules.get, ("subprocess", "multiprocessing.popen_fork"))
    return tuple(module.Popen for module in modules if module is not None)


def _leads_everywhere(thing: object) -> bool:
    sort = type(thing)
    if issubclass(sort, _ENDS):
        return True
    room = sort.__module__
    return isinstance(room, str) and room.partition(".")[0] in _PYTEST


def _attributes(thing: object) -> Iterator[object]:
    """Read without asking the object: what it refers to, by its dictionary or straight."""
    for each in gc.get_referents(thing):
        if type(each) is dict:
            yield from list(each.values())  # another thread may change it
        else:
            yield each
