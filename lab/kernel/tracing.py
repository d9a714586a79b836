"""What control asks of the kernel about each task, tried on one.

Security modules, seccomp profiles and the kernel's configuration all have a say, so nothing but
trying tells.
"""

from __future__ import annotations

import errno
import os

from lab.kernel import ptrace
from lab.kernel.kcmp import same_memory
from lab.kernel.pidfd import duplicate_of, pidfd_open

PTRACE, DESCRIPTORS, COMPARISON = "ptrace", "pidfd_getfd", "kcmp"
_PROFILE = "in a container: --cap-add SYS_PTRACE, or --security-opt seccomp=unconfined"


def refusals(task: int) -> dict[str, OSError]:
    """Begin to trace a process, and try all else that control needs.

    Returns what is refused, by the name of the call: nothing, where control is possible.
    """
    refused: dict[str, OSError] = {}
    for call, attempt in (
        (PTRACE, ptrace.seize),
        (DESCRIPTORS, _duplicate),
        (COMPARISON, lambda it: same_memory(it, it)),
    ):
        try:
            attempt(task)
        except OSError as error:
            refused[call] = error
    return refused


def remedy(call: str, refused: OSError) -> str:
    """What to change so that a call is allowed."""
    if refused.errno == errno.ENOSYS:
        needed = {DESCRIPTORS: "Linux 5.6 or newer", COMPARISON: "a kernel with CONFIG_KCMP"}
        return f"needs {needed.get(call, 'a kernel that has it')}; {_PROFILE}"
    if call == PTRACE:
        return (
            "set kernel.yama.ptrace_scope to 0 or 1, or run the container with --cap-add SYS_PTRACE"
        )
    return _PROFILE


def _duplicate(task: int) -> None:
    pidfd = pidfd_open(task)
    try:
        duplicate = duplicate_of(pidfd, 0)
    finally:
        os.close(pidfd)
    if duplicate is not None:
        os.close(duplicate)
