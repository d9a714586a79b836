"""Paths and files: opening, making, renaming, removing, asking, locking."""

from __future__ import annotations

import os
import stat

from lab.kernel.arch import Registers
from lab.run.control.calls.others import Unknown
from lab.run.control.opened import (
    AT_FDCWD,
    closed_by,
    is_program,
    keeps_busy,
    opened_by,
    path_argument,
    resolved,
    status_at,
    target_of,
)
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.unvaried import LINKED_FILE, OTHERS_IN_PROC
from lab.run.control.world import Model, World
from lab.trace import Action


class PathCall(CallOperation):
    """A call that names a file of the places that processes share."""

    def __init__(
        self, world: World, name: str, regs: Registers, thing: str, action: Action, path: str = ""
    ) -> None:
        super().__init__(name, regs)
        self.world, self.object, self.action, self.path = world, thing, action, path
        self.source = ""
        """Of a rename, the old path."""

    def perform(self, task: Task) -> Effect:
        """Make the call."""
        replaces = bool(self.source) and status_at(task, self.path) is not None
        result = task.machine.run_to_end_of_call(task)
        if result >= 0 and self.action is Action.WRITE:
            for memory in self.world.memories.values():
                memory.forget_size()  # it may have been cut
        if result >= 0 and self.action is Action.CREATE and self.path:
            self._name_memory(task)
        if result >= 0 and self.call in _LINKS:
            self._note_link(task)
        if result >= 0 and self.source:
            self._note_rename(task, replaces=replaces)
        if result >= 0 and self.action is Action.REMOVE:
            self.world.locks.left(self.path)
        return Effect(result=result)

    def _note_rename(self, task: Task, *, replaces: bool) -> None:
        """Another file is at this path now, and none at its old one."""
        if replaces:
            self.world.locks.left(self.path)
        self.world.locks.left(self.source)
        found = status_at(task, self.path)
        if found:
            self.world.locks.came(self.path, found, new=False)

    def _note_link(self, task: Task) -> None:
        """A file has a second name now, and goes by the first."""
        found = status_at(task, self.path)
        if found and self.also and self.object.startswith("file:"):
            self.world.names.linked.setdefault((found.st_dev, found.st_ino), self.also[0])

    def _name_memory(self, task: Task) -> None:
        """A file was given a name: glibc makes a semaphore under another one and links it."""
        found = status_at(task, self.path)
        memory = found and self.world.memories.get(("file", found.st_dev, found.st_ino))
        if memory:
            memory.identity = self.object


class FileOpen(PathCall):
    """Opening a file: whether that makes it or empties it is known when it is done."""

    def __init__(
        self, world: World, name: str, regs: Registers, thing: str, flags: int, path: str
    ) -> None:
        might = (
            Action.CREATE
            if flags & os.O_CREAT
            else Action.WRITE
            if flags & os.O_TRUNC
            else Action.OPEN
        )
        super().__init__(world, name, regs, thing, might)
        self.flags, self.file = flags, path

    def perform(self, task: Task) -> Effect:
        """Look, and make the call."""
        found = status_at(task, self.file)
        if found is None or (self.flags & os.O_CREAT and self.flags & os.O_EXCL):
            effect = super().perform(task)
            made = None if found else status_at(task, self.file)
            if made:
                self.world.locks.came(self.file, made, new=True)
            return effect
        truncates = self.flags & os.O_TRUNC and found.st_size
        self.action = Action.WRITE if truncates else Action.OPEN
        return super().perform(task)


class FifoOpen(CallOperation):
    """Opening a FIFO: a reader that is blocked in open is what lets the writer's open succeed.

    So it acts before it blocks, and has to be entered.
    """

    action = Action.OPEN

    enters = True

    def __init__(self, world: World, name: str, regs: Registers, path: str, flags: int) -> None:
        super().__init__(name, regs)
        self.world, self.object = world, f"fifo:{path}"
        missing = "reader" if flags & os.O_ACCMODE == os.O_WRONLY else "writer"
        self.waits_for = f"a {missing} to open it"

    def perform(self, task: Task) -> Effect:
        """Enter the call; it may sleep there."""
        return Effect(result=task.machine.enter_call(task, self))


class Lock(CallOperation):
    """flock, and the locks of fcntl.

    Whether one is free is found out only by trying: a duplicate of the descriptor, used to ask,
    would take it.
    """

    action = Action.ACQUIRE
    waits_for = "the lock's holder to release it"

    def __init__(self, world: World, task: Task, name: str, regs: Registers, thing: str) -> None:
        super().__init__(name, regs)
        self.world, self.object = world, thing
        self.refused_at = -1
        releases = (
            bool(self.argument(1) & _LOCK_UN)
            if name == "flock"
            else task.space.word(regs[2], 2) == _F_UNLCK
        )
        if releases:
            self.action = Action.RELEASE
        exclusive = (
            bool(self.argument(1) & _LOCK_EX)
            if name == "flock"
            else task.space.word(regs[2], 2) == _F_WRLCK
        )
        if name == "fcntl":
            # Of a part of the file, unless its length is 0.
            self.offset, self.size = task.space.word(regs[2] + 8), task.space.word(regs[2] + 16)
        self.mode = b"" if releases else b"exclusive" if exclusive else b"shared"
        self.waits = self.action is Action.ACQUIRE and (
            not self.argument(1) & _LOCK_NB if name == "flock" else self.argument(1) in _WAITING
        )

    def ready(self) -> bool:
        """Not refused since the last step that may have released it."""
        return self.refused_at != self.world.version(self.object)

    def on(self) -> tuple[str, ...]:
        """Those who hold it, by the record."""
        return self.world.holders(self.object, 0)

    def perform(self, task: Task) -> Effect:
        """Try; a refusal of a waiting call is no step."""
        result = task.machine.run_changed(task, self.regs, {1: self._at_once()})
        if self.waits and result in (-_EAGAIN, -_EACCES):
            self.refused_at = self.world.version(self.object)
            task.machine.back_before_call(task, self.regs)
            task.operation = self
            return Effect(result=result, no_step=True)
        failed = self.action is Action.ACQUIRE and result < 0
        return Effect(after=self.mode, result=result, action=Action.READ if failed else None)

    def _at_once(self) -> int:
        """The command that does not wait."""
        if self.call == "fcntl":
            return _WAITING.get(self.argument(1), self.regs[1])
        return self.regs[1] | (_LOCK_NB if self.waits else 0)

    def interrupt(self, task: Task) -> Effect:
        """With a signal pending the kernel breaks the wait itself."""
        return Effect(result=task.machine.run_to_end_of_call(task))


_LOCK_EX, _LOCK_NB, _LOCK_UN = 2, 4, 8
_F_WRLCK, _F_UNLCK = 1, 2
_WAITING = {7: 6, 38: 37}
"""F_SETLKW and F_OFD_SETLKW, and the same without waiting."""
_EAGAIN, _EACCES = 11, 13


def _open(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    directory, address, flags = AT_FDCWD, regs[0], regs[1]
    if name in ("openat", "openat2"):
        directory, address = _signed(regs[0]), regs[1]
        flags = regs[2] if name == "openat" else task.space.word(regs[2])
    elif name == "creat":
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    given = path_argument(task, directory, address)
    _note_others(world, task, given)
    path = resolved(task, given)
    found = status_at(task, path)
    if flags & _WRITING and world.names.outlives(path):
        world.changes_outside(path)
    if found is not None and stat.S_ISFIFO(found.st_mode):
        if flags & os.O_NONBLOCK or flags & os.O_ACCMODE == os.O_RDWR:
            return PathCall(world, name, regs, f"fifo:{path}", Action.OPEN)
        return FifoOpen(world, name, regs, path, flags)
    thing = world.names.of_file(path)
    if not thing:
        return None
    operation = FileOpen(world, name, regs, thing, flags, path)
    operation.also = further_names(world, thing, given, found)
    written = found.st_mode if found is not None and flags & _WRITING else 0
    if is_program(f"/proc/{task.tid}/root{path}", written):
        operation.also += (f"running:{thing}",)  # while somebody runs it: ETXTBSY
    return operation


def _note_others(world: World, task: Task, given: str) -> None:
    """What /proc tells of a process, or of all, changes with much that no step of theirs names."""
    if given == "/proc" or given.startswith("/proc/"):
        whose = f"{given}/".split("/")[2]
        if whose in _OF_ALL or (whose.isdigit() and whose != str(task.process.pid)):
            world.unvaried[OTHERS_IN_PROC] = None


_OF_ALL = ("", "locks", "sysvipc", "loadavg")


def further_names(
    world: World, thing: str, given: str, found: os.stat_result | None
) -> tuple[str, ...]:
    """What else decides which file a path leads to, or what is in it.

    That is the link, if it was given by a symbolic one, and the first name of a file with several.
    """
    names = {world.names.of_file(given): None}
    if found is not None and stat.S_ISREG(found.st_mode) and thing.startswith("file:"):
        first = world.names.linked.get((found.st_dev, found.st_ino))
        if first is None and found.st_nlink > 1:
            world.unvaried[LINKED_FILE] = None
        names[first or ""] = None
    return tuple(name for name in names if name and name != thing)


def _on_path(action: Action, *, directory: int | None, path: int) -> Model:
    """A call with one path that matters.

    Args:
        action: what it does.
        directory: index of the argument that names the directory; None: the working directory.
        path: index of the argument that is the path.
    """

    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        base = AT_FDCWD if directory is None else _signed(regs.arguments[directory])
        given = path_argument(task, base, regs.arguments[path])
        _note_others(world, task, given)
        where = resolved(task, given, last=name not in _ON_THE_LINK)
        found = status_at(task, where)
        if action is not Action.READ and world.names.outlives(where):
            world.changes_outside(where)
        if found is not None and stat.S_ISFIFO(found.st_mode):
            return PathCall(world, name, regs, f"fifo:{where}", action)
        thing = world.names.of_file(where)
        if action is not Action.READ and world.names.anchors.are_below(where):
            thing = f"file:{where}"
        if name.startswith("mknod") and thing:
            mode = regs.arguments[path + 1]
            thing = f"fifo:{where}" if stat.S_ISFIFO(mode) else thing
        if not thing:
            return None
        operation = PathCall(world, name, regs, thing, action, where)
        operation.also = further_names(world, thing, given, found)
        if name in _RENAMES or name in _LINKS:
            bare = name in ("rename", "link")
            old, place = (AT_FDCWD, regs[0]) if bare else (_signed(regs[0]), regs[1])
            source = resolved(task, path_argument(task, old, place), last=False)
            if name.startswith("rename") and world.names.outlives(source):
                world.changes_outside(source)
            operation.also = (world.names.of_file(source), *operation.also)
            operation.source = source if name in _RENAMES else ""
        return operation

    return model


def _lock(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or (not stat.S_ISREG(what.mode) and not stat.S_ISDIR(what.mode)):
        return None
    return Lock(world, task, name, regs, world.locks.of(what.target, what.device, what.inode))


def _truncate_opened(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or not what.identity:
        return None
    return PathCall(world, name, regs, what.identity, Action.WRITE)


def _look_at_opened(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """What a descriptor leads to, its size or what is in it now, without waiting."""
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or not what.identity:
        return None
    if stat.S_ISREG(what.mode) == (name == "ioctl"):
        return None  # files are asked for their size, pipes and sockets for what is in them
    return PathCall(world, name, regs, what.identity, Action.READ)


def _seek(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """Moving where the next read or write is, which processes share after a fork."""
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or not stat.S_ISREG(what.mode) or not what.identity:
        return None
    position = world.names.position(what.identity)
    if regs[2] & 0xFFFFFFFF == os.SEEK_END:
        operation = PathCall(world, name, regs, what.identity, Action.READ)
        operation.also = position
        return operation
    return PathCall(world, name, regs, position[0], Action.WRITE) if position else None


def _list_directory(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """What is in a directory depends on every file that is made in it, whatever its name.

    The working directory itself is let pass. Each Python that is started there looks for modules in
    it; and a program that makes files there, which stay, is not proved anyway.
    """
    target = target_of(task, regs[0] & 0xFFFFFFFF)
    if target == world.names.working:
        return None
    return Unknown(name, regs) if world.names.of_file(f"{target}/any") else None


def _close_range(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    if regs[2] & _CLOSE_RANGE_CLOEXEC:
        return None
    first, last = regs[0] & 0xFFFFFFFF, regs[1] & 0xFFFFFFFF
    things = closed_by(world, task, lambda number: first <= number <= last)
    if not things:
        return None
    operation = PathCall(world, name, regs, things[0], Action.CLOSE)
    operation.also = things[1:]
    return operation


_CLOSE_RANGE_CLOEXEC = 4


def _replace(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """dup2 closes what had the number before."""
    return None if regs[0] == regs[1] else _closed(world, task, name, regs, regs[1])


def _close(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    return _closed(world, task, name, regs, regs[0])


def _closed(
    world: World, task: Task, name: str, regs: Registers, descriptor: int
) -> Operation | None:
    """Closing the end of a pipe or a socket may end another's wait; of a file, drop its locks."""
    what = opened_by(world, task, descriptor & 0xFFFFFFFF)
    if what is None or not what.identity:
        return None
    if what.identity.startswith(("posix-", "file:")):
        lock = world.lock_on(what.device, what.inode)
        busy = keeps_busy(task, descriptor & 0xFFFFFFFF, what)
        if not lock:
            return PathCall(world, name, regs, busy, Action.CLOSE) if busy else None
        operation = PathCall(world, name, regs, lock, Action.RELEASE)
        operation.also = (busy,) if busy else ()
        return operation
    return PathCall(world, name, regs, what.identity, Action.CLOSE)


_LINKS = ("link", "linkat")
_RENAMES = ("rename", "renameat", "renameat2")
_ON_THE_LINK = frozenset(
    """
    rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat rmdir mkdir mkdirat
    mknod mknodat lstat readlink readlinkat lchown lsetxattr lgetxattr llistxattr
    """.split()  # noqa: SIM905  # to be read
)
"""Calls that do not follow a symbolic link at the end of a path; some others do not if told so."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


TABLE: dict[str, Model] = {
    **dict.fromkeys(("open", "openat", "openat2", "creat"), _open),
    "mkdir": _on_path(Action.CREATE, directory=None, path=0),
    "mkdirat": _on_path(Action.CREATE, directory=0, path=1),
    "mknod": _on_path(Action.CREATE, directory=None, path=0),
    "mknodat": _on_path(Action.CREATE, directory=0, path=1),
    "rename": _on_path(Action.CREATE, directory=None, path=1),
    "renameat": _on_path(Action.CREATE, directory=2, path=3),
    "renameat2": _on_path(Action.CREATE, directory=2, path=3),
    "link": _on_path(Action.CREATE, directory=None, path=1),
    "linkat": _on_path(Action.CREATE, directory=2, path=3),
    "symlink": _on_path(Action.CREATE, directory=None, path=1),
    "symlinkat": _on_path(Action.CREATE, directory=1, path=2),
    "unlink": _on_path(Action.REMOVE, directory=None, path=0),
    "unlinkat": _on_path(Action.REMOVE, directory=0, path=1),
    "rmdir": _on_path(Action.REMOVE, directory=None, path=0),
    "truncate": _on_path(Action.WRITE, directory=None, path=0),
    "ftruncate": _truncate_opened,
    "stat": _on_path(Action.READ, directory=None, path=0),
    "lstat": _on_path(Action.READ, directory=None, path=0),
    "newfstatat": _on_path(Action.READ, directory=0, path=1),
    "statx": _on_path(Action.READ, directory=0, path=1),
    "access": _on_path(Action.READ, directory=None, path=0),
    "faccessat": _on_path(Action.READ, directory=0, path=1),
    "faccessat2": _on_path(Action.READ, directory=0, path=1),
    **dict.fromkeys(("fstat", "ioctl"), _look_at_opened),
    "lseek": _seek,
    **dict.fromkeys(("getdents", "getdents64"), _list_directory),
    "fallocate": _truncate_opened,
    **dict.fromkeys(("fchmod", "fchown", "fsetxattr", "fremovexattr"), _truncate_opened),
    **dict.fromkeys(
        ("chmod", "chown", "lchown", "utime", "utimes", "setxattr", "lsetxattr", "removexattr"),
        _on_path(Action.WRITE, directory=None, path=0),
    ),
    **dict.fromkeys(
        ("fchmodat", "fchmodat2", "fchownat", "futimesat", "utimensat"),
        _on_path(Action.WRITE, directory=0, path=1),
    ),
    **dict.fromkeys(
        ("readlink", "getxattr", "lgetxattr", "listxattr", "llistxattr"),
        _on_path(Action.READ, directory=None, path=0),
    ),
    **dict.fromkeys(("fgetxattr", "flistxattr"), _look_at_opened),
    "readlinkat": _on_path(Action.READ, directory=0, path=1),
    **dict.fromkeys(("dup2", "dup3"), _replace),
    "close_range": _close_range,
    "flock": _lock,
    "fcntl": _lock,
    "close": _close,
}
