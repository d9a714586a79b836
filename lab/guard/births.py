"""Who makes what where: the interpreter's audit events, with the stack that each came from.

Nothing is patched. CPython announces what it is about to do (open, bind, start a thread, fork), and
a hook that only looks has no effect on the program. Pipes, duplicates, epolls and what C libraries
make are not announced: of them neither line nor maker is known, and they are the test's unless
something else tells.

A hook cannot be taken away again, and is called for each event of the process to its end. So there
is one, which does nothing while nobody records.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from lab.guard.leak import Birth
from lab.guard.owners import Owners

# Bound before a test can replace them. The guard must not meet what a test makes of them, which may
# count their calls, answer for another process, or forbid whatever blocks in an event loop.
_getcwd, _getpid, _readlink = os.getcwd, os.getpid, os.readlink
_normal, _text = os.path.normpath, os.fsdecode

_MOST = 10_000
"""Events of a sort that are kept for one test: of more, the last are not."""
_DEPTH = 60
"""Frames that are looked at: a test sits deeper in pytest than in itself."""
# Not from sysconfig: it reads all variables of Python's build, which takes milliseconds.
_PURELIB = os.path.dirname(os.path.dirname(pytest.__file__))
"""Where packages are installed: at least those that a suite of pytest's needs."""
_STDLIB = os.path.dirname(os.__file__)
_LAB = os.path.dirname(os.path.dirname(__file__)) + os.sep + "guard"
_SINGLETONS = {
    f"{_STDLIB}/multiprocessing/{name}.py": "multiprocessing"
    for name in ("resource_tracker", "forkserver", "resource_sharer", "heap")
}
"""Modules that make one thing for the whole process, whoever asks for it first."""
_MACHINERY = frozenset(("xdist", "coverage", "pytest_cov", "_pytest", "pytest_timeout"))


class Births:
    """What was announced since the last `begin`, by what it is known by afterwards."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.paths: dict[str, Birth] = {}
        """Of files, sockets with a path, and directories."""
        self.opened: set[str] = set()
        """Those of them that Python opened, and no shm_open."""
        self.numbers: dict[int, Birth] = {}
        """Of descriptors that were mapped or sized: shared memory, which nobody announces."""
        self.sockets: list[tuple[weakref.ref[socket.socket], Birth]] = []
        self.threads: list[tuple[weakref.ref[threading.Thread], Birth]] = []
        self.forks: list[Birth] = []
        self.programs: list[tuple[str, Birth]] = []
        self.folders: dict[str, Birth] = {}
        """Directories that were made, in which things may have been left; and where."""
        self.basetemp: Callable[[], str] = str
        """Where pytest makes temporary directories, which it clears itself; "" before it did."""
        self.locks = True
        """Whether a lock was taken or released since somebody looked."""
        self.owners = Owners()
        """Whose the objects are that wider fixtures gave."""
        self.foreign: dict[int, str] = {}
        """Threads that were there before the test, and whose they are."""
        self.note: Callable[[str, str], None] | None = None
        """In a forked child: tells the parent of a path that was made, and where."""
        # Where the session began: a test may have its working directory anywhere, or remove it.
        self._here = _absolute("") + os.sep

    def short(self, file: str) -> str:
        """A file as it reads from where the session began."""
        return file.removeprefix(self._here)

    def begin(self) -> None:
        """Forget what was announced."""
        for kept in (self.paths, self.opened, self.numbers, self.folders):
            kept.clear()
        for listed in (self.sockets, self.threads, self.forks, self.programs):
            listed.clear()

    def start(self) -> None:
        """Record from now on."""
        global _recording  # noqa: PLW0603  # a hook is the process's, and there is one
        if not _hooked:
            sys.addaudithook(_hook)
            _hooked.append(True)
        _recording = self

    @staticmethod
    def stop() -> None:
        """Record no more."""
        global _recording  # noqa: PLW0603
        _recording = None

    def of_fork(self) -> Birth:
        """Of a child that was forked: known if all forks of the test were in one place."""
        return self.forks[0] if len(set(self.forks)) == 1 else Birth()

    def of_program(self, command: str) -> Birth:
        """Of a child that executes a command; a shell's is told by its arguments."""
        said: list[Birth] = [birth for line, birth in self.programs if line == command]
        if not said and not self.forks:
            said = [birth for _, birth in self.programs]
        return said[0] if len(set(said)) == 1 else self.of_fork()

    def of_thread(self, thread: threading.Thread) -> Birth:
        """Of a thread of the module threading."""
        return next((birth for ref, birth in self.threads if ref() is thread), Birth())

    def numbered(self) -> set[int]:
        """The descriptors of the sockets that were announced, and are open."""
        return {made.fileno() for ref, _ in self.sockets if (made := ref()) is not None}

    def of_descriptor(self, number: int, target: str) -> Birth:
        """Of an open descriptor, by what it leads to."""
        for ref, birth in reversed(self.sockets):
            made: socket.socket | None = ref()
            if made is not None and made.fileno() == number:
                return birth
        path = target.removesuffix(" (deleted)")
        return self.paths.get(path, self.numbers.get(number, Birth()))

    # What follows runs inside the program's own calls: it must be quick, and never raise.

    def _birth(self) -> Birth | None:
        """The stack told in one line; None while a module is being found."""
        frame: FrameType | None = sys._getframe(3)
        where = owner = inner = ""
        for _ in range(_DEPTH):
            if frame is None:
                break
            file = frame.f_code.co_filename
            if file.startswith("<frozen importlib"):
                if not where:
                    return None  # Python reads a module: it closes that file itself
                owner = owner or f"import of {inner}"
                break
            owner = owner or _SINGLETONS.get(file, "") or self.owners.of_caller(frame)
            if not where and not _is_python(file):
                package = _package(file)
                if package in _MACHINERY:
                    owner = owner or package
                where = f"{self.short(file)}:{frame.f_lineno}"
                inner = frame.f_globals.get("__name__", "")
            elif frame.f_code.co_name == "_multicall" and where:
                break  # from here on it is pytest that calls
            frame = frame.f_back
        return Birth(where, owner or self.foreign.get(threading.get_ident(), ""))

    def _on_path(self, path: object) -> None:
        if isinstance(path, str | bytes) and path and (birth := self._birth()):
            place = _absolute(path)
            if place.startswith("/dev/shm/"):
                self.opened.add(place)
            self._made(place, birth)

    def _on_bind(self, address: object) -> None:
        path = _text(address) if isinstance(address, str | bytes) else ""
        if path[:1] not in ("", "\0") and (birth := self._birth()):
            self._made(_absolute(path), birth, always=True)

    def _made(self, place: str, birth: Birth, *, always: bool = False) -> None:
        if _getpid() != self.pid:
            if self.note and (place.startswith("/dev/shm/") or always):
                self.note(place, birth.where)
        elif len(self.paths) < _MOST:
            self.paths[place] = birth

    def _on_folder(self, path: object) -> None:
        if not isinstance(path, str | bytes) or _getpid() != self.pid:
            return
        place, temporary = _absolute(path), self.basetemp()
        if len(self.folders) >= _MOST or (temporary and place.startswith(temporary)):
            return
        if not place.startswith("/dev/shm/") and (birth := self._birth()):
            self.folders[place] = birth

    def _on_lock(self) -> None:
        self.locks = True

    def _on_number(self, number: object) -> None:
        if not isinstance(number, int) or number < 0 or not (birth := self._birth()):
            return
        if _getpid() == self.pid:
            self.numbers[number] = birth
        try:
            target = _readlink(f"/proc/self/fd/{number}")
        except OSError:
            return  # a descriptor of nothing: the call itself will say so
        if target.startswith("/dev/shm/") and target not in self.opened:
            self._made(target, birth)

    def _on_socket(self, made: Any) -> None:
        if len(self.sockets) < _MOST and (birth := self._birth()):
            # One of a class without weak references stays unknown: to hold it would keep it open.
            with contextlib.suppress(TypeError):
                self.sockets.append((weakref.ref(made), birth))

    def _on_thread(self, function: Any) -> None:
        thread = getattr(function, "__self__", None)
        if isinstance(thread, threading.Thread) and (birth := self._birth()):
            self.threads.append((weakref.ref(thread), birth))

    def _on_fork(self) -> None:
        if len(self.forks) < _MOST and (birth := self._birth()):
            self.forks.append(birth)

    def _on_program(self, arguments: object) -> None:
        if len(self.programs) < _MOST and (birth := self._birth()):
            words = arguments if isinstance(arguments, list | tuple) else [arguments]
            line = " ".join(_text(w) if isinstance(w, bytes) else str(w) for w in words)
            self.programs.append((line, birth))


_recording: Births | None = None
_hooked: list[bool] = []
_EVENTS: dict[str, Callable[[Births, tuple[Any, ...]], None]] = {
    "open": lambda births, args: births._on_path(args[0]),
    "sqlite3.connect": lambda births, args: births._on_path(_named(args[0])),
    "socket.__new__": lambda births, args: births._on_socket(args[0]),
    "socket.bind": lambda births, args: births._on_bind(args[1]),
    "mmap.__new__": lambda births, args: births._on_number(args[0]),
    "os.truncate": lambda births, args: births._on_number(args[0]),
    "os.mkdir": lambda births, args: births._on_folder(args[0]),
    "os.fork": lambda births, _: births._on_fork(),
    "os.forkpty": lambda births, _: births._on_fork(),
    "os.posix_spawn": lambda births, args: births._on_program(args[1]),
    "os.system": lambda births, args: births._on_program(args[0]),
    "subprocess.Popen": lambda births, args: births._on_program(args[1]),
    "fcntl.flock": lambda births, _: births._on_lock(),
    "fcntl.lockf": lambda births, _: births._on_lock(),
    "fcntl.fcntl": lambda births, _: births._on_lock(),
    "os.lockf": lambda births, _: births._on_lock(),
    "_thread.start_new_thread": lambda births, args: births._on_thread(args[0]),
    "_thread.start_joinable_thread": lambda births, args: births._on_thread(args[0]),
}


def _hook(event: str, args: tuple[Any, ...]) -> None:
    noted = _EVENTS.get(event)
    if noted is not None and _recording is not None:
        noted(_recording, args)


def _is_python(file: str) -> bool:
    return file.startswith(("<", _LAB)) or (
        file.startswith(_STDLIB) and not file.startswith(_PURELIB)
    )


def _package(file: str) -> str:
    inner = file[len(_PURELIB) + 1 :] if file.startswith(_PURELIB) else ""
    return inner.partition("/")[0].removesuffix(".py")


def is_machinery(function: object) -> bool:
    """Whether a function is of pytest, or of a plugin that has its hands in all tests."""
    code = getattr(function, "__code__", None)
    return code is not None and _package(code.co_filename) in _MACHINERY


def _named(path: object) -> object:
    """Announced as it was given: other events tell the name."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def _absolute(path: str | bytes) -> str:
    """As it is, if it begins in a working directory that is gone."""
    told = _text(path)
    try:
        return _normal(told if told.startswith("/") else f"{_getcwd()}/{told}")
    except FileNotFoundError:
        return told
