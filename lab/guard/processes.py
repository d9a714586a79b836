"""The processes that a test left: children, dead ones that nobody waited for, and orphans.

An orphan is no child any more, so nothing in its parents leads back to the test. But a fork keeps
the addresses of its program's image, which are random for each exec; and an exec keeps the
environment, in which the guard has put a word. Neither changes anything for the program, as making
pytest the adopter of all orphans would: a test's `os.wait()` would return processes that it never
knew as its children.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from lab.guard import singletons
from lab.guard.births import Births
from lab.guard.leak import Birth, Kind, Leak
from lab.guard.look import read
from lab.kernel.process_stat import HELPERS, command, exit_status, image, state
from lab.kernel.procfs import descendants, parent_of

WORD = "LAB_GUARD"
"""The environment variable that all programs inherit which the session starts."""
_HERTZ = os.sysconf("SC_CLK_TCK")
_ROUNDS, _PAUSE = 1000, 0.001


class Processes:
    """Who of the machine's processes comes from this one."""

    def __init__(self) -> None:
        self._image = image(os.getpid())
        self.word = f"{os.getpid()}.{os.urandom(6).hex()}"
        self._last = _newest()
        self.owners: dict[int, str] = {}
        """Of processes that are no test's, or an earlier one's: whose they are."""
        self._images: dict[str, str] = {}
        """What such processes forked is known by their image."""

    def give_to(self, pids: frozenset[int], owner: str) -> None:
        """Note whose some children are, and with them whatever they start."""
        for pid in pids:
            self.owners[pid] = owner
            if (known := image(pid)) != self._image:
                self._images[known] = owner

    def activity(self) -> dict[str, dict[int, int]]:
        """Of each owner, the processes that live, and the nanoseconds that each has run so far.

        Who has not run since has made nothing. -1 where the kernel does not tell.
        """
        found: dict[str, dict[int, int]] = {}
        for pid, owner in list(self.owners.items()):
            if state(pid) in "ZX":
                del self.owners[pid]
                continue
            for each in (pid, *tree(pid)):
                found.setdefault(owner, {})[each] = _time_run(each)
        return found

    def children(self, pids: frozenset[int], births: Births) -> Iterator[Leak]:
        """Describe some children of this process."""
        for pid in sorted(pids):
            _begun(pid)
            line = command(pid)
            if _is_machinery(line) or pid in singletons.processes():
                continue
            letter = state(pid)
            forked = line == command(os.getpid())
            birth = births.of_fork() if forked else births.of_program(line)
            if letter == "Z":
                status = exit_status(pid)
                ended = f"nobody waited for it, it ended with {status}"
                name = f"{_name_of(pid)} (PID {pid})"
                birth = births.of_program("")
                yield Leak((Kind.ZOMBIE, pid, started(pid)), name, birth, ended)
            elif letter != "X":
                yield Leak((Kind.CHILD, pid, started(pid)), _named(pid, line, forked), birth)

    def orphans(self, since: float, births: Births) -> Iterator[Leak]:
        """Processes that come from this one, and whose parents do not.

        Args:
            since: seconds since boot; what is older has been looked at before.
            births: what was announced.
        """
        newest = _newest()
        first, self._last = self._last, newest
        family = {os.getpid()} | tree(os.getpid())
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            # PIDs are given out in a circle.
            new = first < pid <= newest if first <= newest else pid > first or pid <= newest
            if not new or pid in family or started(pid) < int(since * _HERTZ):
                continue
            leak = self._orphan(pid, births)
            if leak is not None:
                yield leak

    def look_again(self) -> int:
        """From which PID on the next look for orphans looks; to be put back for a second one."""
        return self._last

    def look_from(self, pid: int) -> None:
        """Look from there on once more."""
        self._last = pid

    def _orphan(self, pid: int, births: Births) -> Leak | None:
        _begun(pid)
        known = image(pid)
        forked = known == self._image
        if not forked and known not in self._images and not self._has_word(pid):
            return None
        line = command(pid)
        if state(pid) in "ZX" or not line or _is_machinery(line):
            return None
        birth = births.of_fork() if forked else births.of_program(line)
        if owner := self._images.get(known, ""):
            birth = Birth(owner=owner)
        key = (Kind.ORPHAN, pid, started(pid))
        return Leak(key, _named(pid, line, forked), birth, "its parent has ended")

    def _has_word(self, pid: int) -> bool:
        try:
            return f"{WORD}={self.word}".encode() in read(f"/proc/{pid}/environ").split(b"\0")
        except OSError:
            return False  # gone, or another user's


def _begun(pid: int) -> None:
    """Wait for a process that is in the midst of an exec: it has no command, word or image yet."""
    for _ in range(_ROUNDS):
        try:
            os.readlink(f"/proc/{pid}/exe")
        except OSError:
            return  # the kernel's, another user's, or ending
        if image(pid):
            return
        time.sleep(_PAUSE)  # nothing tells when it has begun


def tree(pid: int) -> set[int]:
    """The descendants of a process."""
    return set(descendants(pid))


def is_alone(strays: frozenset[int] = frozenset()) -> bool:
    """Whether no process of this user is in sight but this one's descendants and ancestors.

    Args:
        strays: descendants to which no tree leads any more.
    """
    known = {os.getpid(), *strays} | tree(os.getpid())
    ancestor = os.getpid()
    while ancestor := parent_of(ancestor):
        known.add(ancestor)
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            mine = pid not in known and os.stat(f"/proc/{pid}").st_uid == os.geteuid()
            if mine and read(f"/proc/{pid}/cmdline"):  # a thread of the kernel has none
                return False
        except OSError:
            continue  # it ended, and is not there
    return True


def started(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 if it is gone."""
    try:
        return int(read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def now() -> float:
    """Seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _named(pid: int, line: str, forked: bool) -> str:
    return f"{'fork of the test process' if forked else line} (PID {pid})"


def _time_run(pid: int) -> int:
    """Nanoseconds on a CPU, of all its threads that live."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        return sum(int(read(f"/proc/{pid}/task/{task}/schedstat").split()[0]) for task in tasks)
    except OSError:
        return -1


def _name_of(pid: int) -> str:
    try:
        return os.fsdecode(read(f"/proc/{pid}/comm")).strip()
    except OSError:
        return "?"


def _newest() -> int:
    """The PID that was given out last."""
    return int(read("/proc/loadavg").split()[-1])


def _is_machinery(line: str) -> bool:
    return any(name in line for name in HELPERS)
