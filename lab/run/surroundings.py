"""What a run needs around it, and what the lab says where it is missing or short."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
import traceback

from lab.run.limits import LabError

_DESCRIPTORS = 32
"""That a sandbox opens, generously, besides those of the lab's process, which it inherits."""

_REMEDIES = {
    errno.EMFILE: "raise `ulimit -n`",
    errno.ENFILE: "raise the machine's limit: sysctl fs.file-max",
    errno.EAGAIN: "raise `ulimit -u`, or the machine's limit on processes",
    errno.ENOMEM: "free some memory",
    errno.EFBIG: "raise `ulimit -f`",
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or raise the quota",
}


def demand_surroundings() -> None:
    """Raise LabError where a run would end in the middle for want of what is not the program's.

    The program would be blamed for that.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise LabError("the working directory was removed; change to one that exists") from None
    try:
        taken = len(os.listdir("/proc/self/fd")) - 1  # the listing had one too
    except OSError as refused:
        raise LabError(explained(refused)) from refused
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed - taken < _DESCRIPTORS:
        raise LabError(
            f"this process may open {allowed} files, {taken} are open, and a run needs "
            f"{_DESCRIPTORS} more: {_REMEDIES[errno.EMFILE]}"
        )
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise LabError(
            "no directory for temporary files can be written to; set TMPDIR to one that can "
            "(a disk may be full, or `ulimit -f` too low)"
        ) from None


def explained(error: BaseException) -> str:
    """A failure of the lab's own: what is short and what to do, else where it happened."""
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        place = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{place}: {_REMEDIES[error.errno]}"
    return "".join(traceback.format_exception(error))
