"""Leak: an IPC object that still exists when every process of the run has ended.

Such objects belong to the kernel or to a directory, not to a process: no exit removes them. They
take memory and slots of small system-wide tables until somebody removes them or the machine
restarts, and the next run finds stale content under the same name.

Not reported: what exists when the *lab* ended the run. Its processes were killed before they
could reach their clean-up, so that nobody removed the object says nothing about them. Nor
objects that could not be attributed to this run; the trace has a note about those.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.detect.naming import stable_name
from lab.detect.wording import counted, label, labels, listed
from lab.finding import Finding, Kind
from lab.trace import Ending, ObjectType, SharedObject, Trace

_QUEUES = frozenset({ObjectType.POSIX_MQ, ObjectType.SYSV_MQ})
_REMOVE = {
    ObjectType.POSIX_SHM: "shm_unlink (posix_ipc.unlink_shared_memory, SharedMemory.unlink)",
    ObjectType.POSIX_SEM: "sem_unlink (posix_ipc.unlink_semaphore)",
    ObjectType.POSIX_MQ: "mq_unlink (posix_ipc.unlink_message_queue)",
    ObjectType.SYSV_SHM: "shmctl IPC_RMID (sysv_ipc.SharedMemory.remove)",
    ObjectType.SYSV_SEM: "semctl IPC_RMID (sysv_ipc.Semaphore.remove)",
    ObjectType.SYSV_MQ: "msgctl IPC_RMID (sysv_ipc.MessageQueue.remove)",
    ObjectType.FIFO: "os.unlink",
    ObjectType.UNIX_SOCKET: "os.unlink; closing a socket leaves its path",
    ObjectType.TEMP_FILE: "os.unlink, or make it with tempfile in a with statement",
}
_GIVE_BACK = {
    ObjectType.FD: "Close it in the process that opened it, on every path.",
    ObjectType.LOCK_HELD: "Release it in a finally, so that a failure releases it too.",
}


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding for each object; for those whose names are drawn anew in each run, one in all."""
    if trace.ending is not Ending.COMPLETED:
        return
    left: dict[tuple[ObjectType, str], list[SharedObject]] = {}
    for thing in trace.objects:
        if thing.left:
            left.setdefault((thing.type, stable_name(thing.name)), []).append(thing)
    for (kind, name), things in left.items():
        told = [_told(trace, thing) for thing in things]
        several = f"{len(told)} objects {kind} were left behind: {listed(told)}."
        yield Finding(
            Kind.LEAK,
            name,
            several if len(told) > 1 else f"{kind} {told[0]} was left behind.",
            subject=kind,
            processes=tuple(dict.fromkeys(thing.made_by for thing in things if thing.made_by)),
            advice=_advice(kind),
            details=tuple(
                f"{thing.name} was seen in use by {labels(trace, thing.used_by)}"
                for thing in things
                if thing.used_by
            ),
        )


def _told(trace: Trace, thing: SharedObject) -> str:
    maker = f", made by {label(trace, thing.made_by)}" if thing.made_by else ""
    return f"{thing.name} ({_size(thing)}owner uid {thing.owner}{maker})"


def _size(thing: SharedObject) -> str:
    if thing.type in _QUEUES:
        held = counted(len(thing.messages), "message") if thing.messages else ""
        return f"{held + ', ' if held else ''}{counted(thing.size, 'byte')} queued, "
    if thing.type is ObjectType.SYSV_SEM:
        return f"{counted(thing.size, 'semaphore')}, "
    if thing.type in (ObjectType.POSIX_SHM, ObjectType.SYSV_SHM, ObjectType.TEMP_FILE):
        return f"{counted(thing.size, 'byte')}, "
    return ""


def _advice(kind: ObjectType) -> str:
    if kind in _GIVE_BACK:
        return _GIVE_BACK[kind]
    return f"Remove it when its last user is done, on every path (finally): {_REMOVE[kind]}."
