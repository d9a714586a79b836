"""From plain data, as JSON has them, back to the dataclasses that they were made from.

The types of the fields are the grammar. A field that is not there has its default, so that an older
file can be read; a key that no field has is passed over, so that a newer one can.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


class BadData(ValueError):  # noqa: N818  # it names what is wrong, as `BadToken` does
    """The data are not what such a type is made from; the text says where."""


def read(kind: type[T], data: object, at: str = "") -> T:
    """A value of this type, made from plain data.

    Bytes are hexadecimal digits, an enum is its value, a tuple is a list.

    Args:
        kind: a dataclass.
        data: an object of JSON.
        at: where in the document it stands, for the message.

    Raises BadData.
    """
    if not isinstance(data, Mapping):
        raise _wrong(at, "an object", data)
    hints = _hints(typing.cast("type", kind))
    given: dict[str, Any] = {}
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]  # a dataclass, see above
        where = f"{at}.{each.name}" if at else each.name
        if each.name in data:
            given[each.name] = _value(hints[each.name], data[each.name], where)
        elif each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            raise BadData(f"{where} is missing")
    try:
        return kind(**given)
    except ValueError as contradiction:
        raise BadData(f"{at or 'it'} contradicts itself: {contradiction}") from contradiction


def listed(kind: type[T], data: object, at: str) -> tuple[T, ...]:
    """Several of them. Raises BadData."""
    if not isinstance(data, list):
        raise _wrong(at, "a list", data)
    return tuple(read(kind, each, f"{at}[{index}]") for index, each in enumerate(data))


def text(data: object, at: str) -> str:
    """A text. Raises BadData."""
    value: str = _value(str, data, at)
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _value(hint: Any, data: object, at: str) -> Any:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if data is None and type(None) in inside:
            return None
        return _value(next(each for each in inside if each is not type(None)), data, at)
    if origin is tuple:
        return _sequence(inside, data, at)
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return read(hint, data, at)
    return _single(hint, data, at)


def _sequence(inside: tuple[Any, ...], data: object, at: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise _wrong(at, "a list", data)
    if inside[1:] == (...,):
        inside = inside[:1] * len(data)
    if len(data) != len(inside):
        raise _wrong(at, f"a list of {len(inside)}", data)
    return tuple(
        _value(hint, each, f"{at}[{index}]")
        for index, (hint, each) in enumerate(zip(inside, data, strict=True))
    )


def _single(hint: Any, data: object, at: str) -> Any:
    number = not isinstance(data, bool) and isinstance(data, int | float)
    if issubclass(hint, enum.StrEnum):
        if isinstance(data, str) and data in set(hint):
            return hint(data)
        raise _wrong(at, f"one of {', '.join(hint)}", data)
    if hint is bytes:
        try:
            return bytes.fromhex(typing.cast("str", data))
        except (TypeError, ValueError):
            raise _wrong(at, "hexadecimal digits", data) from None
    if hint is float and number:
        return float(typing.cast("float", data))
    if isinstance(data, hint) and (hint is bool or not isinstance(data, bool)):
        return data
    raise _wrong(at, _NAMES[hint], data)


_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _wrong(at: str, expected: str, data: object) -> BadData:
    shown = repr(data)
    return BadData(f"{at or 'it'} is to be {expected}, and not {shown[:40]}")
