"""Whose what an object's methods make is: the wider fixture's that gave the object.

Objects are known by their ids, and not kept alive: a program may wait for one to go.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, ModuleType


class Owners:
    """The objects that wider fixtures gave, and what their classes can do."""

    def __init__(self) -> None:
        """Begin with none."""
        self._owners: dict[int, str] = {}
        self._classes: set[type] = set()
        """Kept, so that the ids of their methods stay theirs."""
        self._methods: set[int] = set()

    def add(self, thing: object, owner: str) -> bool:
        """From now on; False if it is another's, and stays so."""
        if self._owners.setdefault(id(thing), owner) != owner:
            return False
        sort = type(thing)
        if sort not in self._classes:
            self._classes.add(sort)
            self._methods.update(id(code) for code in _methods(sort))
        return True

    def forget(self, identity: int) -> None:
        """The object with this id is nobody's, or is gone, so that another may get its id."""
        self._owners.pop(identity, None)

    def of(self, thing: object) -> str:
        """Of an object; "" if it is nobody's."""
        return self._owners.get(id(thing), "")

    def of_caller(self, frame: FrameType) -> str:
        """Of the object whose method this is.

        Before 3.13, to ask a frame for its variables keeps what they are alive after a `del`. So no
        others are asked than those of such objects' own methods.
        """
        if id(frame.f_code) in self._methods:
            return self.of(frame.f_locals.get(frame.f_code.co_varnames[0]))
        return ""


def may_make(thing: object) -> bool:
    """Whether it is an object of somebody's class; the object itself, which may lie, is not asked.

    It has a dictionary, and is no class, module or function.
    """
    sort = type(thing)
    return sort.__dictoffset__ != 0 and not issubclass(sort, type | ModuleType | FunctionType)


def _methods(sort: type) -> Iterator[CodeType]:
    """The code of a class's methods and properties, within their decorators."""
    for base in sort.__mro__:
        for each in vars(base).values():
            method: object = each
            if isinstance(each, classmethod):
                method = each.__func__
            elif isinstance(each, property):
                method = each.fget
            while isinstance(method, FunctionType):
                if method.__code__.co_argcount:
                    yield method.__code__
                method = vars(method).get("__wrapped__")
