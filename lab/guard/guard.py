"""What each test left: a look before, a look after, and whose the difference is.

Whatever appears while a module's or a session's fixture is set up is that fixture's, and so is what
its processes, threads and methods make later; it has to be gone when the fixture is finished. What
a test left is reported once: from then on it was there before.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab.guard import inside
from lab.guard.births import Births
from lab.guard.holdings import Holdings, owned
from lab.guard.leak import Key, Kind, Leak
from lab.guard.ledger import Ledger
from lab.guard.look import Look, Looker, date, locks_through, tasks
from lab.guard.objects import Objects
from lab.guard.processes import WORD, Processes, now

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02
_ROUNDS = 10
_OF_PROCESS = frozenset((Kind.FD, Kind.LOCK_HELD, Kind.SIGNAL_HANDLER))
_PROCESSES = frozenset((Kind.CHILD, Kind.ORPHAN))
EARLIER = "an earlier test"


class Guard:
    """Watches one process's tests. To be made in the process that runs them."""

    def __init__(self, looker: Looker, births: Births, *, private: bool) -> None:
        """Begin to record."""
        self.pid = os.getpid()
        self.processes = Processes()
        self.births = births
        self._ledger = Ledger()
        self.births.note = self._ledger.note
        self._look = looker
        self.objects = Objects(looker, self.births, self.processes, self._ledger, private=private)
        self._owned: dict[Key, Leak] = {}
        """What wider fixtures have, and what is no test's."""
        self._finished: set[str] = set()
        self._holdings = Holdings(births.owners)
        os.environ[WORD] = self.processes.word
        self.births.start()
        self._begun: tuple[Look, float, float, int] | None = None
        self._tasks = 0

    def stop(self) -> None:
        """Record no more."""
        self.births.stop()
        self._look.close()
        self._ledger.close()
        os.environ.pop(WORD, None)

    def begin(self) -> None:
        """A test begins."""
        self.births.begin()
        self.births.foreign = self._threads(EARLIER)
        self._finished.clear()
        self.objects.activity = self.processes.activity() if self.processes.owners else {}
        first = self.processes.look_again()
        self._tasks = tasks()
        self._begun = self._look(), date(), now(), first

    def end(self, patience: float, failure: BaseException | None = None) -> list[Leak]:
        """The test has ended, its fixtures are torn down: what is left, after some patience.

        Args:
            patience: seconds that things may take to go by themselves.
            failure: what the test failed with, if it did.
        """
        if self._begun is None or os.getpid() != self.pid:
            return []  # a child that a test let run on to here
        (before, *since), self._begun = self._begun, None
        seen = self._settled(before)
        births = self.births
        told = births.forks or births.programs or births.folders
        if seen == before and not told and not self._finished:
            return []
        left = self._left(before, seen, since)
        if left and failure is not None:
            inside.let_go(failure)
        if left:
            left = self._patient(left, before, since, patience)
        self._give(left, EARLIER)
        for leak in left:
            self._owned.pop(leak.key, None)
        return left

    @contextmanager
    def fixture(self, owner: str, place: object) -> Iterator[Callable[[object], None]]:
        """While a wider fixture is set up: what appears is its own. It hands over its value.

        Args:
            owner: which one.
            place: the class or the module that it is set up for.
        """
        before, *since = self._look(), date(), now(), self.processes.look_again()
        variables = dict(getattr(place, "__dict__", {}))
        try:
            yield lambda value: self._holdings.add(owner, value, place, variables)
        finally:
            seen = self._look()
            forked = self.births.forks or self.births.programs
            if seen != before or forked:
                mine = list(self._new(before, seen, since))
                self._owned.update((leak.key, owned(leak, owner)) for leak in mine)
                self._give(mine, owner)
                self.births.foreign = self._threads(owner) | self.births.foreign
                threads = {int(leak.key[1]) for leak in mine if leak.kind is Kind.THREAD}
                self._holdings.note(owner, inside.served(threads))

    def finished(self, owner: str) -> None:
        """A wider fixture is finished: what it has is to be gone when the test ends."""
        self._finished.add(owner)
        self._holdings.drop(owner)

    def forget(self, leak: Leak) -> None:
        """It was taken away."""
        self.processes.owners.pop(int(leak.key[1]) if leak.key[0] in _PROCESSES else 0, None)

    def _threads(self, owner: str) -> dict[int, str]:
        if threading.active_count() == 1:
            return {}
        known = self.births.foreign
        return {
            each.ident: known.get(each.ident, owner)
            for each in threading.enumerate()
            if each.ident and each.ident != threading.get_ident()
        }

    def _left(self, before: Look, seen: Look, since: list[Any]) -> list[Leak]:
        """Of what is new, what is the test's; and what finished fixtures still have."""
        left = []
        for leak in self._holdings.claimed(list(self._new(before, seen, since))):
            if owner := leak.birth.owner:
                self._owned.setdefault(leak.key, leak)
                self._give([leak], owner)
            else:
                left.append(leak)
        for leak in list(self._owned.values()):
            if not present(leak, seen):
                del self._owned[leak.key]
            elif leak.birth.owner in self._finished:
                left.append(leak)
        return left

    def _new(self, before: Look, seen: Look, since: list[Any]) -> Iterator[Leak]:
        moment, ticks, first = since
        births = self.births
        found = [
            *inside.new(before, seen, births),
            *self.processes.children(seen.children - before.children, births),
        ]
        if seen.reaped != before.reaped or seen.children != before.children or births.forks:
            self.processes.look_from(first)
            found += self.processes.orphans(ticks, births)
        # After the processes: an orphan is not in the tree, and may have made something.
        self.objects.strays = frozenset(
            int(each.key[1]) for each in found if each.kind is Kind.ORPHAN
        )
        found += self.objects.new(before, seen, moment)
        return (leak for leak in found if leak.key not in self._owned)

    def _patient(
        self, left: list[Leak], before: Look, since: list[Any], patience: float
    ) -> list[Leak]:
        """Wait for what is about to go. On a busy machine it takes longer, and so do the pauses."""
        gc.collect()  # what only a cycle of garbage holds is as good as gone
        pause, spent = _FIRST_PAUSE, 0.0
        count = len(left)
        while True:
            seen = self._look()
            left = [leak for leak in left if present(leak, seen)]
            if not left or spent >= patience or _nothing_moves(left, seen):
                break
            if len(left) < count:
                count, spent = len(left), 0.0  # it is going on: it may take as long again
            time.sleep(pause)  # the end of a thread, an orphan or a file is told to nobody
            spent, pause = spent + pause, min(2 * pause, _LONGEST_PAUSE)
        # Anew, since a child may have become a zombie, or a thread have made something.
        return self._left(before, seen, since) if left else []

    def _settled(self, before: Look) -> Look:
        """A look. A thread that was started a moment ago is no thread of Python's yet: wait for it.

        One of a C library never becomes one.
        """
        seen = self._look()
        for _ in range(_ROUNDS):
            if tasks() - self._tasks <= len(seen.threads) - len(before.threads):
                break
            time.sleep(_FIRST_PAUSE)  # nothing tells when Python has taken it in
            seen = self._look()
        return seen

    def _give(self, leaks: list[Leak], owner: str) -> None:
        pids = {int(leak.key[1]) for leak in leaks if leak.kind in _PROCESSES}
        if pids:
            self.processes.give_to(frozenset(pids), owner)


def present(leak: Leak, seen: Look) -> bool:
    """Whether it is still there, by a look."""
    kind, what, which = leak.key
    match kind:
        case Kind.FD | Kind.LOCK_HELD:
            number = int(what)
            there = seen.descriptors.get(number, (0, 0))[1] == which
            return there and (kind is Kind.FD or bool(locks_through(number)))
        case Kind.THREAD:
            return what in seen.threads
        case Kind.ZOMBIE | Kind.CHILD:
            return what in seen.children
        case Kind.ORPHAN:
            from lab.guard.processes import started
            from lab.kernel.process_stat import state

            return started(int(what)) == which and state(int(what)) not in "ZX"
        case Kind.SIGNAL_HANDLER:
            return id(seen.handlers[int(what) - 1]) == which
        case Kind.SYSV_SHM | Kind.SYSV_SEM | Kind.SYSV_MQ:
            return what in seen.sysv[_SYSV.index(kind)]
        case Kind.POSIX_MQ:
            return str(what)[1:] in seen.queues
        case _:
            return os.path.lexists(str(what))


_SYSV = (Kind.SYSV_SHM, Kind.SYSV_SEM, Kind.SYSV_MQ)


def _nothing_moves(left: list[Leak], seen: Look) -> bool:
    """Whether nobody is there who could still take away what is left."""
    alone = tasks() == 1 and not seen.children
    return alone and all(leak.kind in _OF_PROCESS for leak in left)
