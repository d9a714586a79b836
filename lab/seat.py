"""A seat in a cluster: a process beside a dask worker that makes runs for a search elsewhere.

The worker itself has threads and a hash seed of its own, and forks of it would be no pristine
starts. So each search gets an interpreter of its own here, begun as the command line begins one
(see `lab.pristine`). It reads from its standard input what is to be run, then one job after
another, and writes each recording to its standard output. When the input ends, so does it, and
with it all that it has started.
"""

from __future__ import annotations

import contextlib
import pickle
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import IO

from lab.ahead import Job, Recording
from lab.pristine import start_again
from lab.run.limits import LabError
from lab.search.token import Origin

_LENGTH = struct.Struct("=Q")


@dataclass(frozen=True)
class Assignment:
    """What is run in a seat."""

    origin: Origin
    seconds: float
    """The limit of each run."""


class Seat:
    """The worker's side: a process that makes runs.

    Raises LabError where the process cannot do that; from then on it is of no use.
    """

    def __init__(self, assignment: Assignment) -> None:
        # Not by -m: what is pickled here would there be of another module, __main__.
        command = [sys.executable, "-c", "from lab.seat import main; main()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._tell(assignment)

    def make(self, job: Job) -> Recording:
        """One run."""
        self._tell(job)
        assert self._process.stdout is not None
        answer = _read(self._process.stdout)
        if isinstance(answer, Recording):
            return answer
        self.close()
        raise LabError(str(answer or "the process that makes the runs ended without a word"))

    def close(self) -> None:
        """End the process; twice does no harm."""
        # Killed, its tracer dies with it, and with that one all that is traced.
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # of what was still to be told it
                stream.close()

    def _tell(self, what: Assignment | Job) -> None:
        assert self._process.stdin is not None
        try:
            _write(self._process.stdin, what)
        except BrokenPipeError:
            raise LabError("the process that makes the runs is gone") from None


def _write(stream: IO[bytes], what: object) -> None:
    data = pickle.dumps(what)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _read(stream: IO[bytes]) -> object:
    """What comes next; None at the end."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    size = _LENGTH.unpack(header)[0]
    data = stream.read(size)
    return pickle.loads(data) if len(data) == size else None  # noqa: S301  # the lab's own


def main() -> None:
    """Make runs until nobody wants any more."""
    start_again()
    from lab.run.control import Pool
    from lab.target import found_again

    assignment = _read(sys.stdin.buffer)
    assert isinstance(assignment, Assignment)
    try:
        wanted = found_again(assignment.origin, time_limit=assignment.seconds)
        if wanted.lacking:
            raise LabError(f"it lacks {', '.join(wanted.lacking)}")  # noqa: TRY301
        with Pool(wanted.program, wanted.limits, 1, pinned=False) as pool:
            while isinstance(job := _read(sys.stdin.buffer), Job):
                pool.submit(0, job)
                _write(sys.stdout.buffer, pool.wait()[1])
    # Whatever it is: who waits for an answer must be told.
    except Exception as error:  # noqa: BLE001
        _write(sys.stdout.buffer, f"{error}" or type(error).__name__)
