"""Runs made by a cluster: dask.distributed workers, each with a seat for this search.

Which worker makes which run decides nothing (see `lab.ahead`). A worker that goes away is an
error all the same: nobody knows what the program did there.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import uuid
from typing import TYPE_CHECKING, Any, Self

from lab.run.limits import LabError
from lab.seat import Assignment, Seat

if TYPE_CHECKING:
    from lab.ahead import Job, Recording
    from lab.target import Target

_PATIENCE = 10.0
"""Seconds for a scheduler to answer."""
_LOOK = 1.0
"""Seconds between two looks at which workers are there, while no run is ready."""

_seats: dict[str, Seat] = {}
_over: set[str] = set()
"""Searches that were left. A run of theirs may still come, for it was on its way."""
_lock = threading.Lock()
"""A seat makes one run at a time, however many threads its worker has."""


class Cluster:
    """Makes as many runs at once as a cluster has workers; an `Executor`, and a context.

    Args:
        address: of a dask scheduler, HOST:PORT.
        wanted: what is run; a name must lead to it, there as here.

    Raises ValueError for an empty address.
    """

    slots: int

    def __init__(self, address: str, wanted: Target) -> None:
        if not address:  # dask would start a cluster of its own
            raise ValueError("the address of a cluster is empty; give HOST:PORT")
        self._address = address
        self._assignment = Assignment(wanted.origin, wanted.limits.seconds)
        self._search = uuid.uuid4().hex
        self._ready: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._running: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Find the workers.

        Raises LabError where dask is not installed, nobody answers, or there are no workers.
        """
        try:
            from distributed import Client
        except ImportError:
            raise LabError(
                "--cluster needs dask.distributed, which is not installed; "
                "try: pip install race-lab[cluster]"
            ) from None
        if not self._assignment.origin.has_a_name:
            raise LabError(
                f"--cluster cannot run {self._assignment.origin.name}: workers find a program by "
                "its name; give a scenario, a command, or a function at the top of a module"
            )
        # dask logs what the error below tells anyway, with a traceback.
        try:
            self._client = Client(self._address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:  # TimeoutError is one of the first
            raise LabError(
                f"--cluster {self._address}: no dask scheduler answers there ({error}); "
                "start one with: dask scheduler"
            ) from None
        self._workers = frozenset(self._client.nthreads())
        self.slots = len(self._workers)
        if not self._workers:
            self._client.close()
            raise LabError(
                f"--cluster {self._address}: the scheduler has no workers; "
                f"start one with: dask worker {self._address}"
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End the seats, whatever they are at, and leave the cluster as it was."""
        for future in self._running.values():
            future.cancel()
        with contextlib.suppress(OSError):  # what is gone has no seats
            self._client.run(_leave, self._search, on_error="ignore")
        self._client.close()

    def submit(self, number: int, job: Job) -> None:
        """Let whichever worker is free make the run."""
        future = self._client.submit(
            _make, self._search, self._assignment, job, pure=False, retries=0
        )
        self._running[number] = future
        future.add_done_callback(lambda done: self._ready.put((number, done)))

    def wait(self) -> tuple[int, Recording]:
        """The next that is ready.

        Raises LabError where a run could not be made, or a worker is gone.
        """
        while True:
            try:
                number, future = self._ready.get(timeout=_LOOK)
            except queue.Empty:
                self._look()
                continue
            del self._running[number]
            try:
                recording: Recording = future.result()
            except LabError as error:
                raise LabError(f"a worker of {self._address}: {error}") from None
            except Exception as error:  # noqa: BLE001  # whatever dask or a worker may raise
                raise LabError(
                    f"a run could not be made by the workers of {self._address}: "
                    f"{type(error).__name__}: {error}"
                ) from None
            self._look()
            return number, recording

    def _look(self) -> None:
        """Raise LabError if a worker is gone: dask would give its runs to others, and say nothing.

        Newcomers are no trouble.
        """
        try:
            gone = self._workers - self._client.nthreads().keys()
        except OSError as error:
            raise LabError(f"the scheduler {self._address} is gone: {error}") from None
        if gone:
            raise LabError(f"a worker of {self._address} is gone: {', '.join(sorted(gone))}")


def _make(search: str, assignment: Assignment, job: Job) -> Recording:
    """On a worker: one run, in the seat of the search."""
    with _lock:
        seat = _seats.get(search)
        if seat is None:
            seat = _seats[search] = Seat(assignment)
        if search in _over:  # looked at after the seat can be found, so that one of both ends it
            _leave(search)
        return seat.make(job)


def _leave(search: str) -> None:
    """On a worker: the search is over, whatever is being run for it."""
    _over.add(search)
    if seat := _seats.pop(search, None):
        seat.close()
