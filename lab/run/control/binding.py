"""Which CPU a tracer shares with all that it traces.

A step is a hand-over from the one to the other, and across CPUs it costs three times as much. So
they are bound to one CPU. Which one, the kernel knows best: it puts whoever wakes up on an idle
one. It is asked again now and then, since two tracers that were bound to the same CPU while it was
the idle one would go on sharing it beside another that has become idle.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection

from lab.kernel import libc


class Binding:
    """The CPU of this process and of a zygote, whose children inherit it."""

    def __init__(self, cpu: int | None) -> None:
        """Bind this process: to the given CPU for good, or to one that the kernel chooses."""
        self._allowed: Collection[int] = os.sched_getaffinity(0) if cpu is None else {cpu}
        self._next = 0.0
        self.renew(0)

    def renew(self, zygote: int) -> None:
        """Bind this process and a zygote (0: there is none yet) anew, if it is time to.

        To be called when nothing is being traced.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY if len(self._allowed) > 1 else float("inf")
        os.sched_setaffinity(0, self._allowed)
        time.sleep(_NAP)  # to be woken is to be placed: the kernel moves nobody who runs
        chosen = {libc.current_cpu()} & set(self._allowed) or set(self._allowed)
        os.sched_setaffinity(0, chosen)
        if zygote:
            with contextlib.suppress(ProcessLookupError):  # told when it is asked for a root
                os.sched_setaffinity(zygote, chosen)


_EVERY = 1.0
"""Seconds between two questions."""
_NAP = 1e-4
"""Seconds of sleep from which this process wakes where the kernel wants it."""
