"""What a process is, by /proc/PID/stat and its neighbours: state, image, command, exit status."""

from __future__ import annotations

import os

from lab.kernel.procfs import text

HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""What stands in the command lines of the processes that multiprocessing starts for itself."""

_STATE, _FLAGS, _CHILDREN_FAULTS, _THREADS, _EXIT_CODE = 3, 9, 11, 20, 52
_EXITING = 4  # PF_EXITING
_IMAGE = (26, 28, 48, 49)  # where its code begins, its stack, and its arguments begin and end


def state(pid: int) -> str:
    """The letter that /proc shows: R, S, D, T, Z; X for a process that is gone."""
    return _fields(pid).get(_STATE, "X")


def is_ending(pid: int) -> bool:
    """Whether a process has ended, or is in the kernel to do so and will run no more of its code.

    In that state it has closed its descriptors, for one, and whoever reads from them may end
    before it is a zombie. When its first thread alone has ended, the process lives.
    """
    fields = _fields(pid)
    if not fields or fields[_STATE] == "X":
        return True
    ending = fields[_STATE] == "Z" or int(fields[_FLAGS]) & _EXITING
    return bool(ending) and int(fields[_THREADS]) <= 1


def image(pid: int) -> str:
    """What stays the same from fork to fork and changes with each exec; "" when it is gone.

    To read the command line instead would wait for a lock of the process's memory, which one that
    forks all the time holds all the time: the lab would stand still before the fork bomb that it
    is to end.
    """
    fields = _fields(pid)
    image = [fields.get(number, "0") for number in _IMAGE]
    return " ".join(image) if image[0] != "0" else ""  # one that is ending has given it back


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
