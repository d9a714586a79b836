"""A seat in a cluster: a process beside a dask worker that makes runs for a search elsewhere.

The worker itself has threads and a hash seed of its own, and forks of it would be no pristine
starts. So each search gets an interpreter of its own here, begun as the command line begins one
(see `lab.pristine`). It reads from its standard input what is to be run, then one job after
another, and writes each recording to its standard output. When the input ends, so does it, and
with it all that it has started.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass

from lab.ahead import Job, Recording
from lab.parcel import put, take
from lab.pristine import start_again
from lab.run.limits import LabError
from lab.search.token import Origin


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
        try:
            answer = take(self._process.stdout.read)
        except EOFError:
            answer = "the process that makes the runs ended without a word"
        if isinstance(answer, Recording):
            return answer
        self.close()
        raise LabError(str(answer))

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
            put(self._process.stdin.write, what)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise LabError("the process that makes the runs is gone") from None


def main() -> None:
    """Make runs until nobody wants any more."""
    start_again()
    from lab.run.control import Pool
    from lab.target import found_again

    def tell(answer: object) -> None:
        put(sys.stdout.buffer.write, answer)
        sys.stdout.buffer.flush()

    assignment = take(sys.stdin.buffer.read)
    assert isinstance(assignment, Assignment)
    try:
        wanted = found_again(assignment.origin, time_limit=assignment.seconds)
        if wanted.lacking:
            raise LabError(f"it lacks {', '.join(wanted.lacking)}")  # noqa: TRY301
        with Pool(wanted.program, wanted.limits, 1, pinned=False) as pool:
            while isinstance(job := take(sys.stdin.buffer.read), Job):
                pool.submit(0, job)
                tell(pool.wait()[1])
    except EOFError:
        return  # nobody wants any more
    # Whatever it is: who waits for an answer must be told.
    except Exception as error:  # noqa: BLE001
        tell(f"{error}" or type(error).__name__)
