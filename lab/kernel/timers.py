"""Timers that go off when the tracer says so: the signal of one, the expiry of another."""

from __future__ import annotations

import ctypes
import os
import select
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_RT_SIGQUEUEINFO, _RT_TGSIGQUEUEINFO = 129, 297  # x86_64
_SI_TIMER = -2
_INFO = struct.Struct("=iii4xiiQ")
"""struct siginfo of a timer: signal, error, code; timer, overruns, value."""
_SOON = struct.Struct("=4q").pack(0, 0, 0, 1)
"""struct itimerspec: no interval, in a nanosecond."""


def send_expiry(process: int, thread: int, number: int, timer: int, value: int) -> None:
    """Send the signal that a timer of timer_create sends.

    Args:
        process: to whom.
        thread: to which of its threads; 0: to any.
        number: the signal.
        timer: the timer's id.
        value: what the program wants to be told.

    Raises OSError.
    """
    info = ctypes.create_string_buffer(_INFO.pack(number, 0, _SI_TIMER, timer, 0, value), 128)
    if thread:
        result = _libc.syscall(ctypes.c_long(_RT_TGSIGQUEUEINFO), process, thread, number, info)
    else:
        result = _libc.syscall(ctypes.c_long(_RT_SIGQUEUEINFO), process, number, info)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"sigqueue: {os.strerror(code)}")


def expire(descriptor: int) -> None:
    """Let a timerfd go off now; it is readable when this returns. Raises OSError."""
    if _libc.timerfd_settime(descriptor, 0, _SOON, None) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"timerfd_settime: {os.strerror(code)}")
    select.select([descriptor], [], [])
