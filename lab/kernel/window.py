"""Shared memory under guard: where it is mapped, who maps it, and a window of our own into it.

Every shared mapping of a controlled process is moved into one range of addresses, the window,
where the seccomp filter can recognise a pointer into it. Mappings lie there side by side, so one
mprotect closes them all. The tracer maps each object too: it reads and writes values without a
system call, and where the task's own page is closed.

An object that only one address space maps needs no guard: nobody can come between its accesses.
The guard falls when a second one appears, by fork or by mapping, and stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

WINDOW = 0x200000000000
WINDOW_SIZE = 1 << 36
PAGE_SIZE = mmap.PAGESIZE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.restype = ctypes.c_void_p
_libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_libc.shmdt.argtypes = (ctypes.c_void_p,)
_FAILED = ctypes.c_void_p(-1).value


_Result = TypeVar("_Result")


class SharedMemory:
    """An object that processes map: a file, anonymous memory, or a System V segment."""

    def __init__(
        self,
        identity: str | Callable[[], str],
        *,
        descriptor: int | None = None,
        segment: int | None = None,
        mapped: tuple[int, int] | None = None,
    ) -> None:
        """Map the object into this process.

        Args:
            identity: its name in the trace, or what gives it one when it is first touched.
            descriptor: of the file; the caller closes it.
            segment: the id of a System V segment, which lies in this process's IPC namespace.
            mapped: where it is mapped here already, and how much of it.
        """
        self._identity = identity
        self.spaces: set[int] = set()
        """Serial numbers of the address spaces that map it."""
        self.guarded = False
        self._descriptor = os.dup(descriptor) if descriptor is not None else -1
        self._address = 0
        self._view: mmap.mmap | ctypes.Array[ctypes.c_char] | None = None
        self._attach(segment)
        self._mapped_here = mapped

    @property
    def identity(self) -> str:
        """Its name in the trace."""
        if not isinstance(self._identity, str):
            self._identity = self._identity()
        return self._identity

    @identity.setter
    def identity(self, name: str) -> None:
        self._identity = name

    @property
    def size(self) -> int:
        """Bytes of a System V segment; 0 if it was removed before it could be mapped."""
        return len(self._view) if self._view is not None else 0

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the object; short where it ends."""
        if self._mapped_here is not None:
            return self._own_memory(lambda own, place: os.pread(own, size, place), offset) or b""
        view = self._grown(offset + size)
        return (
            bytes(memoryview(view).cast("B")[offset : offset + size]) if view is not None else b""
        )

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes of the object."""
        if self._mapped_here is not None:
            self._own_memory(lambda own, place: os.pwrite(own, data, place), offset)
            return
        view = self._grown(offset + len(data))
        end = min(offset + len(data), len(view) if view is not None else 0)
        if view is not None and offset < end:
            view[offset:end] = data[: end - offset]

    def close(self) -> None:
        """Let go of the object."""
        if isinstance(self._view, mmap.mmap):
            self._view.close()
        self._view = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._address:
            _libc.shmdt(self._address)
            self._address = 0

    def forget_size(self) -> None:
        """The file was cut: to look beyond its end would end this process."""
        if isinstance(self._view, mmap.mmap):
            self._view.close()
            self._view = None

    def _own_memory(self, act: Callable[[int, int], _Result], offset: int) -> _Result | None:
        """Reach memory that is mapped here; where its file was cut, an error stops that."""
        assert self._mapped_here is not None
        with open("/proc/self/mem", "r+b", buffering=0) as own, contextlib.suppress(OSError):
            return act(own.fileno(), self._mapped_here[0] + offset)
        return None

    def _attach(self, segment: int | None) -> None:
        if segment is None:
            return
        address = _libc.shmat(segment, None, 0)
        if address in (None, _FAILED):
            return  # removed meanwhile: values are then not shown
        self._address = int(address)
        self._view = (ctypes.c_char * _segment_size(self._address)).from_address(self._address)

    def _grown(self, end: int) -> mmap.mmap | ctypes.Array[ctypes.c_char] | None:
        """The view, made anew when the file has grown past it (an object is mapped, then sized)."""
        if self._descriptor >= 0 and (self._view is None or len(self._view) < end):
            size = os.fstat(self._descriptor).st_size
            if size and (self._view is None or size > len(self._view)):
                if isinstance(self._view, mmap.mmap):
                    self._view.close()
                self._view = self._mapped(size)
        return self._view

    def _mapped(self, size: int) -> mmap.mmap:
        try:
            return mmap.mmap(self._descriptor, size)
        except PermissionError:  # opened for reading only
            return mmap.mmap(self._descriptor, size, access=mmap.ACCESS_READ)


def _segment_size(address: int) -> int:
    with open("/proc/self/maps") as maps:
        for line in maps:
            start, _, end = line.split()[0].partition("-")
            if int(start, 16) == address:
                return int(end, 16) - address
    return 0


@dataclass
class Region:
    """A shared mapping of one address space."""

    start: int
    end: int
    memory: SharedMemory
    offset: int
    """Where in the object it begins."""
    protection: int
    """What the program asked for, whatever the guard makes of it."""
    closed: bool


_serials = iter(range(1, 1 << 62))


class BadAddressError(Exception):
    """A program has passed a pointer to nowhere."""


@dataclass
class Space:
    """One address space: its shared mappings, and the tracer's handle to its memory."""

    memory: int
    """Descriptor of /proc/PID/mem."""
    regions: list[Region] = field(default_factory=list)
    next_address: int = WINDOW
    breakpoints: dict[int, tuple[str, int]] = field(default_factory=dict)
    """At an address of a library function: its name, and the byte that the trap replaced."""
    entries: dict[int, str] = field(default_factory=dict)
    """Library functions that touch their argument at this very address: they need no trap."""
    errno_offset: int | None = None
    """Where errno lies, from the thread's base register; None: not found out yet."""
    errno_location: int = 0
    """Address of the library's __errno_location; 0: not known."""
    lock_acquire: int = 0
    """Address of the function by which CPython acquires its private locks; 0: there is none."""
    semaphore_waits: set[int] = field(default_factory=set)
    """Addresses of the library functions that wait for a semaphore, or try it."""
    waits_soon: dict[int, bool] = field(default_factory=dict)
    """Of an address: whether the code there goes on to call one of these."""
    to_close: list[Region] = field(default_factory=list)
    """Mappings to close as soon as a task of it can be made to do so."""
    serial: int = field(default_factory=lambda: next(_serials))
    users: int = 1
    """Processes that live in it: more than one between vfork and exec."""

    def region_at(self, address: int) -> Region | None:
        """The shared mapping that an address lies in."""
        for region in self.regions:
            if region.start <= address < region.end:
                return region
        return None

    def touched(self, address: int, size: int) -> Iterator[Region]:
        """The shared mappings that a range of addresses touches."""
        return (r for r in self.regions if address < r.end and r.start < address + size)

    def reserve(self, size: int) -> int:
        """An address in the window for a new mapping, right after the last one."""
        address = self.next_address
        self.next_address += -(-size // PAGE_SIZE) * PAGE_SIZE
        return address

    def child(self, memory: int) -> Space:
        """The space of a forked child: the same mappings, counted as one more user of each."""
        copy = Space(
            memory,
            [
                Region(r.start, r.end, r.memory, r.offset, r.protection, r.closed)
                for r in self.regions
            ],
            self.next_address,
            dict(self.breakpoints),
            dict(self.entries),
            self.errno_offset,
            self.errno_location,
            self.lock_acquire,
            set(self.semaphore_waits),
            dict(self.waits_soon),
        )
        for region in copy.regions:
            region.memory.spaces.add(copy.serial)
        return copy

    def leave(self) -> None:
        """A process leaves it, by exit or exec; the last one takes it away."""
        self.users -= 1
        if self.users == 0:
            for region in self.regions:
                region.memory.spaces.discard(self.serial)
            self.regions.clear()
            os.close(self.memory)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the task's memory; b"" where there is none."""
        try:
            return os.pread(self.memory, size, address)
        except (OSError, OverflowError):
            return b""

    def write(self, address: int, data: bytes) -> None:
        """Change the task's memory, whatever its protection.

        Raises BadAddressError where there is none.
        """
        region = self.region_at(address)
        if region is not None:
            # Not by force: the kernel refuses that for a shared page which is closed.
            region.memory.write(region.offset + address - region.start, data)
            return
        try:
            os.pwrite(self.memory, data, address)
        except (OSError, OverflowError) as error:
            raise BadAddressError(f"no memory at {address:#x}") from error

    def string(self, address: int, limit: int = 4096) -> str:
        """A NUL-terminated string, never reading past the page where it ends."""
        collected = b""
        while b"\0" not in collected and len(collected) < limit:
            chunk = self.read(
                address + len(collected), PAGE_SIZE - (address + len(collected)) % PAGE_SIZE
            )
            if not chunk:
                break
            collected += chunk
        return os.fsdecode(collected.partition(b"\0")[0])

    def word(self, address: int, size: int = 8) -> int:
        """An unsigned number in the task's memory."""
        return int.from_bytes(self.read(address, size), "little")
