"""What this machine allows, found by trying, and how to get what is missing."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.kernel import procfs, ptrace, tracing
from lab.kernel.arch import SUPPORTED
from lab.kernel.queue_list import queue_directory
from lab.redis_server import find, lacking
from lab.run.limits import Isolation


@dataclass(frozen=True)
class Capability:
    """One thing that the lab can use here, or cannot."""

    name: str
    available: bool
    detail: str
    remedy: str = ""
    """What to change when it is missing; "" when it is there."""


def survey() -> tuple[Capability, ...]:
    """Try everything that the lab depends on."""
    if sys.platform != "linux":
        remedy = "run it on Linux, or in a Linux container or virtual machine"
        return (Capability("linux", available=False, detail=sys.platform, remedy=remedy),)
    checks: tuple[Callable[[], Capability], ...] = (
        _platform,
        _namespaces,
        _private_tmp,
        _system_v,
        _posix_queues,
        _sleeping_calls,
        _redis,
    )
    return (*(check() for check in checks), *_control())


def _platform() -> Capability:
    version = ".".join(map(str, sys.version_info[:3]))
    kernel = os.uname()
    detail = f"{kernel.sysname} {kernel.release} on {kernel.machine}, Python {version}"
    return Capability("linux", available=True, detail=detail)


def _namespaces() -> Capability:
    from lab.run.worlds import best

    world = best()
    if world.isolation is Isolation.NAMESPACES:
        how = "through a user namespace" if world.new_user else "directly"
        return Capability("namespaces", available=True, detail=f"IPC, mount and PID, {how}")
    return Capability(
        "namespaces",
        available=False,
        detail=f"refused: {world.refusal}; runs use snapshots of the host's tables, in turn",
        remedy="become root, or allow user namespaces: sysctl user.max_user_namespaces=10000 "
        "(and kernel.unprivileged_userns_clone=1 or "
        "kernel.apparmor_restrict_unprivileged_userns=0 where they exist); "
        "in a container: --security-opt seccomp=unconfined --cap-add SYS_ADMIN",
    )


def _private_tmp() -> Capability:
    from lab.run.worlds import best

    if best().private_tmp:
        detail = "/tmp and TMPDIR are covered by a layer that vanishes with the run"
        return Capability("private /tmp", available=True, detail=detail)
    return Capability(
        "private /tmp",
        available=False,
        detail="only TMPDIR is a run's own; what it puts into /tmp itself lands on the host",
        remedy="needs namespaces, and a kernel with overlayfs on tmpfs (5.11 or newer for users)",
    )


def _system_v() -> Capability:
    present = Path("/proc/sysvipc/shm").exists()
    return Capability(
        "System V IPC",
        available=present,
        detail="tables in /proc/sysvipc" if present else "no /proc/sysvipc",
        remedy="" if present else "use a kernel with CONFIG_SYSVIPC",
    )


def _posix_queues() -> Capability:
    limit, _ = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    if not Path("/proc/sys/fs/mqueue").exists():
        remedy = "use a kernel with CONFIG_POSIX_MQUEUE"
        return Capability("POSIX queues", available=False, detail="not built in", remedy=remedy)
    size = "no limit" if limit < 0 else f"{limit} bytes for all queues of this user"
    directory = queue_directory()
    if directory is None:
        size += (
            "; without namespaces this user cannot list them (mount -t mqueue none /dev/mqueue), "
            "and one that is left is told only if none was there before"
        )
    else:
        os.close(directory)
    return Capability("POSIX queues", available=True, detail=size)


def _sleeping_calls() -> Capability:
    """Whether the call in which a child sleeps can be read, which names what a hang waits for."""
    with _sleeper() as child:
        shown = procfs.text(child, "syscall") is not None
    return Capability(
        "sleeping calls",
        available=shown,
        detail="/proc/PID/syscall of a child can be read"
        if shown
        else "/proc/PID/syscall of a child is hidden: a hang is seen, but not what it waits for",
        remedy="" if shown else "sysctl kernel.yama.ptrace_scope=1, or become root",
    )


def _redis() -> Capability:
    """Which server the scenarios would use that need one."""
    found, lacks = find(), lacking()
    if found is None or lacks:
        detail = "scenarios that need a server are skipped"
        return Capability("Redis", available=False, detail=detail, remedy="; ".join(lacks))
    return Capability("Redis", available=True, detail=found.origin)


def _control() -> Iterator[Capability]:
    """What `lab explore` needs beside namespaces, each tried on a child."""
    if not SUPPORTED:
        yield Capability(
            "control",
            available=False,
            detail=f"knows x86_64, and this machine is {os.uname().machine}; `lab run` observes",
            remedy="explore on an x86_64 machine",
        )
        return
    with _sleeper() as child:
        refused = tracing.refusals(child)
    for call, purpose in _NEEDED.items():
        error = refused.get(call)
        yield Capability(
            call,
            available=error is None,
            detail=purpose if error is None else f"refused: {os.strerror(error.errno or 0)}",
            remedy="" if error is None else tracing.remedy(call, error),
        )


_NEEDED = {
    tracing.PTRACE: "for control: a child can be traced",
    tracing.DESCRIPTORS: "for control: it can be asked whether a child's call would wait",
    tracing.COMPARISON: "for control: it can be asked whether two processes share memory",
}


@contextlib.contextmanager
def _sleeper() -> Iterator[int]:
    """A child that sleeps; killed in the end."""
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        while os.WIFSTOPPED(os.waitpid(child, ptrace.WALL)[1]):
            pass  # a traced child may stop once more before it ends
