"""What a process is, by /proc/PID/stat and its neighbours: state, image, command, exit status."""

from __future__ import annotations

import os

from lab.kernel.procfs import text

_STATE, _CHILDREN_FAULTS, _EXIT_CODE = 3, 11, 52
_IMAGE = (26, 28, 48, 49)  # where its code begins, its stack, and its arguments begin and end


def state(pid: int) -> str:
    """The letter that /proc shows: R, S, D, T, Z; X for a process that is gone."""
    return _fields(pid).get(_STATE, "X")


def image(pid: int) -> str:
    """What stays the same from fork to fork and changes with each exec; "" when it is gone.

    To read the command line instead would wait for a lock of the process's memory, which one that
    forks all the time holds all the time: the lab would stand still before the fork bomb that it
    is to end.
    """
    fields = _fields(pid)
    return " ".join(fields[number] for number in _IMAGE) if fields else ""


def command(pid: int) -> str:
    """The command line, or else the name in brackets, as ps shows it; "" when it is gone."""
    words = (text(pid, "cmdline") or "").split("\0")
    line = " ".join(word for word in words if word)
    name = (text(pid, "comm") or "").strip()
    return line or (f"[{name}]" if name else "")


def has_waited(pid: int) -> bool:
    """Whether a process has waited for a child: the page faults of those are then its own.

    Some child there was then, however short its life.
    """
    return int(_fields(pid).get(_CHILDREN_FAULTS, "0")) > 0


def exit_status(pid: int) -> int | None:
    """Exit status of a zombie, as os.waitstatus_to_exitcode gives it; None where not shown.

    The kernel shows 0 to those who may not trace the process, so a caller must be its ancestor or
    root.
    """
    fields = _fields(pid)
    if fields.get(_STATE) not in ("Z", "X"):
        return None
    return os.waitstatus_to_exitcode(int(fields[_EXIT_CODE]))


def _fields(pid: int) -> dict[int, str]:
    """The fields of stat by their numbers in proc(5), from the third on; none if it is gone."""
    # The second, the name in parentheses, may itself hold blanks and parentheses.
    after_name = (text(pid, "stat") or "").rpartition(")")[2]
    return dict(enumerate(after_name.split(), start=_STATE))
