"""From the controller's state to the trace that everything else works on."""

from __future__ import annotations

from lab.kernel.ipc_tables import Entry, waiting_messages
from lab.operation import short
from lab.run.control.lines import line_of
from lab.run.control.task import Effect, Task, Where
from lab.run.control.task import Process as Controlled
from lab.run.control.unvaried import unvaried_in
from lab.run.control.world import World
from lab.run.letterbox import Payload
from lab.run.limits import Isolation, Limits
from lab.run.root import Program
from lab.trace import Blocked, Ending, Failure, Process, SharedObject, Trace


def trace_of(
    world: World,
    program: Program,
    limits: Limits,
    ending: Ending,
    trouble: str,
    blocked: tuple[Blocked, ...],
    payload: Payload,
    output: str,
    left: list[Entry],
    doubts: tuple[str, ...] = (),
) -> Trace:
    """What a run left behind."""
    return Trace(
        program.name,
        "controlled",
        ending,
        world.seconds,
        tuple(_process(process) for process in world.processes),
        tuple(_object(world, entry) for entry in left),
        blocked,
        None if isinstance(payload, Failure) else payload,
        payload if isinstance(payload, Failure) else None,
        output,
        trouble,
        (),
        len(world.processes),
        limits.zombie_after,
        limits.seconds,
        limits.processes,
        Isolation.NAMESPACES if world.own_ipc else Isolation.SNAPSHOTS,
        tuple(map(world.names.anchors.told, world.events)),
        unvaried=unvaried_in(world),
        doubts=doubts,
    )


def _process(process: Controlled) -> Process:
    return Process(
        process.name,
        process.pid,
        process.parent.name if process.parent else "",
        process.command,
        process.started,
        process.ended,
        process.reaped,
        process.orphaned,
        process.status,
        process.helper,
        reaper=process.adopted_by.name if process.adopted_by else "",
    )


def _object(world: World, entry: Entry) -> SharedObject:
    identity = f"{entry.type}:{entry.name}"
    users = {event.process.partition(".")[0] for event in world.events if event.object == identity}
    makers = [
        event.process
        for event in world.events
        if event.object == identity and event.action == "create"
    ]
    return SharedObject(
        entry.type,
        entry.name,
        entry.size,
        entry.owner,
        makers[0] if makers else "",
        tuple(sorted(users, key=lambda name: int(name[1:]))),
        left=True,
        messages=_messages(entry),
    )


def _messages(entry: Entry) -> tuple[str, ...]:
    try:
        return waiting_messages(entry)
    except OSError as refused:
        return (f"(unreadable: {refused.strerror})",) if entry.size else ()


def blocked_in(world: World) -> tuple[Blocked, ...]:
    """Who waits for what, at the end of a run in which nobody can move."""
    return tuple(
        blocked for task in world.tasks if (blocked := _blocked_task(world, task)) is not None
    )


def _blocked_task(world: World, task: Task) -> Blocked | None:
    if task.where is Where.GROUP_STOPPED:
        return Blocked(task.name, "stopped", "", "SIGCONT", world.seconds, timed=False)
    operation = task.entered if task.where is Where.IN_KERNEL else task.operation
    if task.where is Where.GONE or operation is None:
        return None
    anchors = world.names.anchors
    name = short(anchors.shortened(operation.object))
    return Blocked(
        task.name,
        operation.call,
        name,
        operation.waits_for,
        world.seconds,
        timed=operation.deadline is not None,
        on=operation.on(),
        where=line_of(task.space) if world.with_lines else "",
        operation=anchors.told(operation.event(task, len(world.events), world.seconds, Effect()))
        if task.where is Where.READY and operation.is_choice
        else None,
    )
