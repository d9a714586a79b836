"""How the root process hands its result over: a page of shared memory, inherited by fork.

Not a pipe: the program under test may close every descriptor it has, and one that does must
still be able to say how it ended.
"""

from __future__ import annotations

import enum
import mmap
import pickle
import struct
import time

from lab.trace import Failure, Messages, Tally

SIZE = 1 << 20
_sleep = time.sleep  # the real one, whatever the program puts in its place
_HEADER = struct.Struct("=BxxxI")

Payload = Tally | Messages | Failure | None


class State(enum.IntEnum):
    """Where the root process stands. It only ever advances."""

    RUNNING = 0
    ENDED = 1
    """The body has returned or raised, and the payload is complete; the root waits."""
    SEEN = 2
    """The watcher has taken its last look: the root may exit."""


class Letterbox:
    """Shared memory between a root process and its watcher."""

    def __init__(self, *, attended: bool = True) -> None:
        """Make the memory.

        Args:
            attended: a watcher looks at the tree before the root may exit. Under control nobody
                needs to: every exit and every wait is seen.
        """
        self._memory = mmap.mmap(-1, SIZE)
        self._attended = attended

    def reset(self) -> None:
        """Make ready for another run."""
        self._memory[0] = State.RUNNING

    @property
    def state(self) -> State:
        """How far the root process has come."""
        return State(self._memory[0])

    def post(self, payload: Payload) -> None:
        """In the root: leave the result and wait until the watcher has looked at the tree.

        The wait makes zombies exact: at the look the root still lives, so whatever child is dead
        and unreaped then was never going to be waited for.
        """
        data = pickle.dumps(payload)
        if len(data) > SIZE - _HEADER.size:
            data = pickle.dumps(
                Failure(
                    "OverflowError",
                    f"the result of the body takes {len(data)} bytes; at most {SIZE} are kept",
                    "",
                    "",
                    is_assertion=False,
                )
            )
        self._memory[_HEADER.size : _HEADER.size + len(data)] = data
        # The state last: whoever sees ENDED finds the payload whole. (x86 keeps stores in order,
        # and a Python store is far apart from the next.)
        _HEADER.pack_into(self._memory, 0, State.RUNNING, len(data))
        self._memory[0] = State.ENDED
        while self._attended and self._memory[0] != State.SEEN:
            _sleep(0.0005)  # a poll, since any lock here could be broken by the program

    def collect(self) -> Payload:
        """In the watcher: the result. None when the body returned None or did not end."""
        if self.state is State.RUNNING:
            return None
        _, length = _HEADER.unpack_from(self._memory, 0)
        payload: Payload = pickle.loads(  # noqa: S301  # written by our own code in the root
            self._memory[_HEADER.size : _HEADER.size + length]
        )
        return payload

    def release(self) -> None:
        """In the watcher: let the root exit."""
        self._memory[0] = State.SEEN

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
