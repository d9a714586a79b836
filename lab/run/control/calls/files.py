"""Paths and files: opening, making, renaming, removing, asking, locking."""

from __future__ import annotations

import os
import re
import stat

from lab.kernel import fdinfo
from lab.kernel.arch import Registers
from lab.operation import PRINTED
from lab.run.control.calls.others import Unknown
from lab.run.control.opened import (
    closed_by,
    is_program,
    keeps_busy,
    link_of,
    opened_by,
    signed,
    target_of,
)
from lab.run.control.paths import AT_FDCWD, Way, path_argument, resolved, status_at
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.unvaried import (
    LINKED_FILE,
    MOVED_DIRECTORY,
    OTHERS_IN_PROC,
    TERMINAL,
    UNSHARED_FILE,
)
from lab.run.control.world import Model, World
from lab.search.dependence import LINK
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
        if result >= 0 and self.action in (Action.CREATE, Action.REMOVE):
            self.world.moves += 1
        return Effect(result=result)

    def _note_rename(self, task: Task, *, replaces: bool) -> None:
        """Another file is at this path now, and none at its old one."""
        if replaces:
            self.world.locks.left(self.path)
        self.world.locks.left(self.source)
        found = status_at(task, self.path)
        if found is None:
            return
        self.world.locks.came(self.path, found, new=False)
        others = [p for p in self.world.processes if p.ended is None and p is not task.process]
        if stat.S_ISDIR(found.st_mode):
            below = f"{self.path}/"
            for process in others:
                if any(target.startswith(below) for target in _opened_paths(process.host)):
                    self.world.unvaried[MOVED_DIRECTORY] = None
            return
        # Who has it open stands, perhaps, before a step that names it as it was.
        key = (found.st_dev, found.st_ino)
        mapped = ("file", *key) in self.world.memories
        if mapped or any(key in fdinfo.opened(process.host) for process in others):
            self._goes_by(key, self.world.names.of_file(self.source))

    def _goes_by(self, key: tuple[int, int], name: str) -> None:
        if name.startswith("file:"):
            self.world.names.linked.setdefault(key, name)

    def _note_link(self, task: Task) -> None:
        """A file has a second name now, and goes by the first."""
        found = status_at(task, self.path)
        if found and self.also and self.object.startswith("file:"):
            self._goes_by((found.st_dev, found.st_ino), self.also[0])

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
                self.world.names.linked.pop((made.st_dev, made.st_ino), None)
            return effect
        truncates = self.flags & os.O_TRUNC and found.st_size
        self.action = Action.WRITE if truncates else Action.OPEN
        return super().perform(task)


def _opened_paths(host: int) -> list[str]:
    """Where a process is, and what it has open."""
    working = os.readlink(f"/proc/{host}/cwd")
    return [working, *(descriptor.target for descriptor in fdinfo.descriptors(host))]


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


def _open(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    directory, address, flags = AT_FDCWD, regs[0], regs[1]
    if name in ("openat", "openat2"):
        directory, address = signed(regs[0]), regs[1]
        flags = regs[2] if name == "openat" else task.space.word(regs[2])
    elif name == "creat":
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    way = resolved(task, path_argument(task, directory, address))
    path = way.end
    _note_others(world, task, path)
    found = status_at(task, path)
    if flags & _UNNAMED == _UNNAMED:
        _open_unnamed(world, task, path)
        return None
    if flags & _WRITING:
        _note_change(world, path)
    thing = world.names.of_file(path)
    operation: CallOperation
    if found is not None and stat.S_ISFIFO(found.st_mode):
        thing = f"fifo:{path}"
        if flags & os.O_NONBLOCK or flags & os.O_ACCMODE == os.O_RDWR:
            operation = PathCall(world, name, regs, thing, Action.OPEN)
        else:
            operation = FifoOpen(world, name, regs, path, flags)
    elif thing:
        operation = FileOpen(world, name, regs, thing, flags, path)
    else:
        return _elsewhere(world, task, name, regs, way)
    operation.also = further_names(world, thing, way, found)
    operation.found_at = world.moves
    written = found.st_mode if found is not None and flags & _WRITING else 0
    if stat.S_ISREG(written) and is_program(f"/proc/{task.tid}/root{path}", written):
        operation.also += (f"running:{thing}",)  # while somebody runs it: ETXTBSY
    return operation


def _open_unnamed(world: World, task: Task, directory: str) -> None:
    """O_TMPFILE: nobody else can open it, and the kernel shows a number as its name."""
    descriptor = task.machine.run_to_end_of_call(task)
    if descriptor >= 0 and world.names.of_file(f"{directory}/any"):
        status = os.stat(f"/proc/{task.tid}/fd/{descriptor}")
        number = world.names.make("unnamed", status.st_ino, task.process.name)
        world.names.linked[status.st_dev, status.st_ino] = f"file:{directory}/#{number}"


_UNNAMED = os.O_TMPFILE


def _note_change(world: World, path: str) -> None:
    """What is at a path is about to be changed; where that is no step, the run is to say so."""
    if world.names.outlives(path):
        world.changes_outside(path)
    elif world.names.ignores(path):
        world.unvaried[UNSHARED_FILE] = None


def _elsewhere(world: World, task: Task, name: str, regs: Registers, way: Way) -> PathCall | None:
    """A path that leads to no file that counts as shared: by what it leads there, it may be."""
    links = [thing for link in way.links if (thing := world.names.of_file(link))]
    if links:
        operation = PathCall(world, name, regs, links[0], Action.READ)
        operation.also = tuple(f"{LINK}{link}" for link in links[1:])
        operation.found_at = world.moves
        return operation
    return _in_proc(world, task, name, regs, way.end)


def _in_proc(world: World, task: Task, name: str, regs: Registers, path: str) -> PathCall | None:
    """Whether /proc has another process is asked for when the call is made."""
    found = _PROCESS.match(path)
    process = world.ever(int(found[1])) if found else None
    if process is None or process is task.process:
        return None
    return PathCall(world, name, regs, process.name, Action.READ)


_PROCESS = re.compile(r"/proc/(\d+)(/|$)")


def _note_others(world: World, task: Task, path: str) -> None:
    """What /proc tells of a process, or of all, changes with much that no step of theirs names."""
    if path == "/proc" or path.startswith("/proc/"):
        whose, what = f"{path}//".split("/")[2:4]
        if (
            whose in _OF_ALL
            or what in _OF_ALL_THERE
            or (whose.isdigit() and whose != str(task.process.pid))
        ):
            world.unvaried[OTHERS_IN_PROC] = None
    elif path in ("/dev/ptmx", "/dev/pts/ptmx"):
        world.unvaried[TERMINAL] = None


_OF_ALL = ("", "locks", "sysvipc", "loadavg")
_OF_ALL_THERE = ("net",)


def further_names(
    world: World, thing: str, way: Way, found: os.stat_result | None
) -> tuple[str, ...]:
    """What else decides which file a path leads to, or what is in it.

    That is the symbolic links on the way, and the first name of a file with several.
    """
    links = (world.names.of_file(link) for link in way.links)
    names = {f"{LINK}{link}": None for link in links if link}
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
        base = AT_FDCWD if directory is None else signed(regs.arguments[directory])
        follows = name not in _ON_THE_LINK and not (
            name in _TOLD_NOT_TO and regs.arguments[_TOLD_NOT_TO[name]] & _NOFOLLOW
        )
        way = resolved(task, path_argument(task, base, regs.arguments[path]), last=follows)
        where = way.end
        found, thing = status_at(task, where), world.names.of_file(where)
        if directory is not None and not task.space.string(regs.arguments[path]):
            thing = _named_by_descriptor(world, task, base) or thing
        _note_others(world, task, where)
        if action is not Action.READ:
            _note_change(world, where)
            if world.names.anchors.are_below(where):
                thing = f"file:{where}"
        fifo = found is not None and stat.S_ISFIFO(found.st_mode)
        if fifo or (thing and name.startswith("mknod") and stat.S_ISFIFO(regs.arguments[path + 1])):
            thing = f"fifo:{where}"
        source = _source(world, task, name, regs)
        old = world.names.of_file(source) if source else ""
        if not thing and not old:
            return _elsewhere(world, task, name, regs, way)
        operation = PathCall(world, name, regs, thing or old, action, where)
        further = further_names(world, thing, way, found)
        operation.also = (old, *further) if thing and old else further
        operation.source = source if name in _RENAMES else ""
        operation.found_at = world.moves
        return operation

    return model


def _named_by_descriptor(world: World, task: Task, descriptor: int) -> str:
    """With an empty path, a call on a path is one on what is open."""
    what = opened_by(world, task, descriptor) if descriptor >= 0 else None
    if what is None or not stat.S_ISREG(what.mode) or what.identity == PRINTED:
        return ""  # each Python asks at its start what it prints to
    return what.identity


def _source(world: World, task: Task, name: str, regs: Registers) -> str:
    """The old path of a call that has two; "" of any other."""
    if name not in _RENAMES and name not in _LINKS:
        return ""
    bare = name in ("rename", "link")
    old, place = (AT_FDCWD, regs[0]) if bare else (signed(regs[0]), regs[1])
    source = resolved(task, path_argument(task, old, place), last=False).end
    if name in _RENAMES:
        _note_change(world, source)
    return source


def _working_directory(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """getcwd, which fails when the directory is not there any more."""
    thing = world.names.of_file(link_of(task, "cwd") or "")
    return PathCall(world, name, regs, thing, Action.READ) if thing else None


def _truncate_opened(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or not what.identity:
        return None
    return PathCall(world, name, regs, what.identity, Action.WRITE)


def _look_at_opened(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """What a descriptor leads to, its size or what is in it now, without waiting."""
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or what.identity in ("", PRINTED):
        return None
    # Files are asked for their size, pipes and sockets for what is in them.
    asks = stat.S_ISREG(what.mode) != (name == "ioctl")
    return PathCall(world, name, regs, what.identity, Action.READ) if asks else None


def _seek(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """Moving where the next read or write is, which processes share after a fork."""
    what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
    if what is None or not stat.S_ISREG(what.mode) or not what.identity:
        return None
    position = world.names.position(what.identity)
    if regs[2] & 0xFFFFFFFF in (os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE):
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
    shared = target == "/proc" or world.names.of_file(f"{target}/any")
    return Unknown(name, regs) if shared else None


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
    if what is None:
        return None
    locks = world.locks_on(what.device, what.inode)
    if stat.S_ISREG(what.mode) or locks:
        busy = keeps_busy(task, descriptor & 0xFFFFFFFF, what) if what.identity else ""
        if not locks:
            return PathCall(world, name, regs, busy, Action.CLOSE) if busy else None
        operation = PathCall(world, name, regs, locks[0], Action.RELEASE)
        operation.also = (*locks[1:], busy) if busy else locks[1:]
        return operation
    if not what.identity:
        return None
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
_TOLD_NOT_TO = {"newfstatat": 3, "statx": 2, "faccessat2": 3, "fchownat": 4, "utimensat": 3}
"""Which argument has the flag that says so."""
_NOFOLLOW = 0x100
"""AT_SYMLINK_NOFOLLOW."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


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
    "chdir": _on_path(Action.READ, directory=None, path=0),
    "getcwd": _working_directory,
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
    "close": _close,
}
