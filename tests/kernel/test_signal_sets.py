from __future__ import annotations

import os
import signal

from lab.kernel import signal_sets
from tests.forked import in_child

GONE = 1 << 22  # above the highest PID that a kernel can give
ME = os.getpid


def test_a_process_that_is_gone_has_no_signals() -> None:
    assert not signal_sets.catches(GONE, signal.SIGINT)
    assert signal_sets.signals(GONE) == signal_sets.Signals(0, 0, 0, 0)


def test_handlers_of_signals_are_seen() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        assert signal_sets.catches(ME(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not signal_sets.catches(ME(), signal.SIGUSR1)


def test_each_set_of_signals_has_its_own() -> None:
    def ask() -> signal_sets.Signals:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
        os.kill(os.getpid(), signal.SIGUSR2)
        return signal_sets.signals(os.getpid())

    sets, first, second = in_child(ask), 1 << signal.SIGUSR1 - 1, 1 << signal.SIGUSR2 - 1

    assert (sets.pending, sets.blocked) == (second, second)
    assert sets.ignored & (first | second) == first
    assert sets.caught & (first | second) == second
