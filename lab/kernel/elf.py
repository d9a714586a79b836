"""Where functions lie: a minimal reader of 64-bit ELF files and of the vDSO's image.

Only what a tracer needs to place a breakpoint at `sem_wait` or to rewrite a clock of the vDSO: the
symbols that a linker would see, found through the dynamic segment (a vDSO and a stripped file keep
it), and those of a symbol table that was not stripped.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_PAGE = 4096

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC = struct.Struct("<QQ")
_SYMBOL = struct.Struct("<IBBHQQ")

_ELF_64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
_PT_LOAD, _PT_DYNAMIC, _PF_X = 1, 2, 1
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_GNU_HASH = 4, 5, 6, 10, 0x6FFFFEF5
_SHT_SYMTAB, _SHN_UNDEF, _STT_FUNC = 2, 0, 2
_ADDRESSES = (0, 1, _STT_FUNC)  # without a type, an object, a function; not TLS, not indirect


class ELFError(Exception):
    """The bytes are no ELF file that can be read; the text says what is wrong with them."""


class Function(NamedTuple):
    """A function: how many bytes from the start of its image, and how long."""

    offset: int
    size: int


def symbols(path: str, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Addresses of functions and variables as linked; add `load_bias` for those in a process.

    Every version of a name counts (`sem_wait@@GLIBC_2.34`, `sem_wait@GLIBC_2.2.5`), so a name may
    have several addresses. A name that is not there is left out, and so is an indirect function:
    its symbol is the resolver that picks one, not the function.

    Args:
        path: the file; below /proc/PID/root will do.
        names: which symbols.

    Raises ELFError, and OSError if the file cannot be opened.
    """
    return dict(_symbols(_identify(path), frozenset(names)))


def load_bias(path: str, mapped_start: int, mapped_offset: int) -> int:
    """What to add to an address as linked to get the one in a process; 0 without PIE.

    Args:
        path: the file.
        mapped_start: where its code is mapped: a line of /proc/PID/maps with an x. Others may not
            do, since a page of the file that two segments share is mapped for either.
        mapped_offset: the offset in the file that is mapped there.

    Raises ELFError, also if no code is at that offset, and OSError.
    """
    for load in _loads(_identify(path)):
        start = load.offset // _PAGE * _PAGE
        if load.is_code and start <= mapped_offset < load.offset + load.size:
            return mapped_start - mapped_offset - (load.address - load.offset)
    raise ELFError(
        f"{path}: no code is at offset {mapped_offset:#x}, which is mapped at "
        f"{mapped_start:#x}. Was the file replaced since the program started? Start it again."
    )


def vdso_functions(image: bytes) -> dict[str, Function]:
    """All functions of an image that was copied from memory and needs no relocation: the vDSO.

    Raises ELFError.
    """
    vdso = _Image(image, "the image", in_memory=True)
    found = {}
    for table, strings in vdso.symbol_tables():
        for name, info, _, section, value, size in _SYMBOL.iter_unpack(table):
            if info & 0xF == _STT_FUNC and section != _SHN_UNDEF:
                text = strings[name : strings.find(b"\0", name)].decode(errors="replace")
                found[text] = Function(vdso.offset_of(value), size)
    return found


@dataclass(frozen=True)
class _File:
    """A file as it is now: by another path it is the same, once changed it is another."""

    device: int
    inode: int
    changed: int
    size: int
    path: str = field(compare=False)


def _identify(path: str) -> _File:
    status = os.stat(path)
    return _File(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, path)


@functools.lru_cache(maxsize=256)
def _symbols(file: _File, names: frozenset[str]) -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    with _opened(file) as data:
        for table, strings in _Image(data, file.path).symbol_tables():
            # Searching the strings for the names beats decoding a name per symbol by far.
            wanted = {place: name for name in names for place in _places(strings, name)}
            for name, info, _, section, value, _ in _SYMBOL.iter_unpack(table):
                if name in wanted and info & 0xF in _ADDRESSES and section != _SHN_UNDEF:
                    found.setdefault(wanted[name], set()).add(value)
    return {name: tuple(sorted(values)) for name, values in found.items()}


def _places(strings: bytes, name: str) -> Iterator[int]:
    """Where a name stands, at the end of a longer one too: linkers merge suffixes."""
    needle = os.fsencode(name) + b"\0"
    place = strings.find(needle)
    while place >= 0:
        yield place
        place = strings.find(needle, place + 1)


@functools.lru_cache(maxsize=256)
def _loads(file: _File) -> tuple[_Load, ...]:
    with _opened(file) as data:
        return _Image(data, file.path).loads


def _opened(file: _File) -> contextlib.AbstractContextManager[mmap.mmap]:
    if file.size == 0:
        raise ELFError(f"{file.path}: the file is empty. Expected a program or a library.")
    with open(file.path, "rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


class _Load(NamedTuple):
    """A segment that is mapped."""

    address: int
    offset: int
    size: int
    """Bytes of it in the file."""
    is_code: bool


class _Image:
    """The bytes of an ELF file, or of what was loaded from one."""

    def __init__(self, data: bytes | mmap.mmap, name: str, *, in_memory: bool = False) -> None:
        self._data = data
        self._name = name
        start = data[: _HEADER.size]
        if start[:6] != _ELF_64_LITTLE_ENDIAN:
            raise ELFError(
                f"{name}: not an ELF file of a 64-bit little-endian machine (it begins with "
                f"{start[:6]!r}). Expected a program or a library that a process has mapped."
            )
        header = _HEADER.unpack(self.cut(0, _HEADER.size, "header"))
        segments, self._sections, _, _, _, count, _, self._section_count = header[5:13]
        table = self.cut(segments, count * _SEGMENT.size, "program headers")
        loads, self._dynamic = [], None
        for kind, flags, offset, address, _, size, _, _ in _SEGMENT.iter_unpack(table):
            if kind == _PT_LOAD:
                loads.append(_Load(address, offset, size, bool(flags & _PF_X)))
            elif kind == _PT_DYNAMIC:
                self._dynamic = address, size
        if in_memory and loads:
            # What is read from memory lies at its address and not at its offset.
            loads = [_Load(loads[0].address - loads[0].offset, 0, len(data), is_code=True)]
            self._sections = 0
        self.loads = tuple(loads)

    def cut(self, offset: int, size: int, what: str) -> bytes:
        """A piece of it, whole. Raises ELFError."""
        piece = self._data[offset : offset + size]
        if len(piece) != size:
            raise ELFError(
                f"{self._name}: it ends within its {what}, {len(self._data)} bytes are there and "
                f"{offset + size} were expected. Was it cut off while it was copied?"
            )
        return piece

    def offset_of(self, address: int) -> int:
        """Where in the data an address as linked is. Raises ELFError."""
        for load in self.loads:
            if 0 <= address - load.address < load.size:
                return address - load.address + load.offset
        raise ELFError(f"{self._name}: address {address:#x} is in no segment. Is it damaged?")

    def symbol_tables(self) -> Iterator[tuple[bytes, bytes]]:
        """The symbols and the names of each table that is there: dynamic, and not stripped."""
        if self._dynamic:
            yield from self._dynamic_symbols(*self._dynamic)
        if self._sections:
            yield from self._static_symbols()

    def _dynamic_symbols(self, address: int, size: int) -> Iterator[tuple[bytes, bytes]]:
        size -= size % _DYNAMIC.size
        entries = self.cut(self.offset_of(address), size, "dynamic segment")
        tags = dict(_DYNAMIC.iter_unpack(entries))
        if not {_DT_SYMTAB, _DT_STRTAB, _DT_STRSZ} <= tags.keys():
            return
        count = self._count(tags)
        yield (
            self.cut(self.offset_of(tags[_DT_SYMTAB]), count * _SYMBOL.size, "dynamic symbols"),
            self.cut(self.offset_of(tags[_DT_STRTAB]), tags[_DT_STRSZ], "dynamic strings"),
        )

    def _count(self, tags: dict[int, int]) -> int:
        """How many dynamic symbols there are: only their hash table tells."""
        if _DT_HASH in tags:
            return self._words(self.offset_of(tags[_DT_HASH]), 2)[1]
        if _DT_GNU_HASH not in tags:
            return 0
        place = self.offset_of(tags[_DT_GNU_HASH])
        buckets, first, filters, _ = self._words(place, 4)
        place += 16 + 8 * filters
        last = max(self._words(place, buckets), default=0)
        if last < first:
            return first
        # Symbols of a bucket follow each other; the lowest bit of its hash marks the last one.
        place += 4 * (buckets - first)
        while not self._words(place + 4 * last, 1)[0] & 1:
            last += 1
        return last + 1

    def _words(self, place: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self.cut(place, 4 * count, "hash table"))

    def _static_symbols(self) -> Iterator[tuple[bytes, bytes]]:
        size = self._section_count * _SECTION.size
        sections = list(_SECTION.iter_unpack(self.cut(self._sections, size, "section headers")))
        for _, kind, _, _, offset, size, link, *_ in sections:
            if kind == _SHT_SYMTAB and link < len(sections):
                names = sections[link]
                table = self.cut(offset, size - size % _SYMBOL.size, "symbol table")
                yield table, self.cut(names[4], names[5], "symbol names")
