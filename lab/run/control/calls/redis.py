"""Calls on a connection to a Redis server: a command is one step, on the keys that it names.

The step is the call that completes the command: when it is over, the server has replied, and the
reply, which is known, is part of the step. To read it then concerns nobody else and is no step.
Only where a command waits for others (BLPOP) is the reading one: the wait.
"""

from __future__ import annotations

import select
from dataclasses import replace

from lab.kernel.arch import Registers
from lab.run.control.calls.descriptors import DescriptorCall
from lab.run.control.calls.sockets import AddressCall
from lab.run.control.machine import UnexpectedStopError
from lab.run.control.opened import Opened, inode_of, opened_by
from lab.run.control.redis.connection import Connection
from lab.run.control.redis.meaning import Meaning
from lab.run.control.redis.store import SERVER, Store
from lab.run.control.redis.wire import Failure, NotRespError, Reply
from lab.run.control.task import Effect, Operation, Task
from lab.run.control.timers import Timer
from lab.run.control.world import Model, World
from lab.search.strategy import Pending
from lab.trace import Action, Event

_SHOWN = 64
_NANO = 1_000_000_000
_OF_THE_MOMENT = frozenset({"TTL", "PTTL"})
"""What they reply may be another millisecond in the next run."""
_NOTHING = b"(nil)"
"""How redis-cli spells it."""


class WaitLimit(Timer):
    """The time limit of a BLPOP, which the server is not told: it is one of the virtual clock."""

    def __init__(self, store: Store, connection: Connection, task: Task, deadline: int) -> None:
        super().__init__(task.process, deadline)
        self.store, self.connection = store, connection

    def go_off(self, times: int) -> None:  # noqa: ARG002  # it does so once
        """Have the server answer, unless it has."""
        if self.connection.waiting is not None:
            self.store.end_wait(self.connection.client)


class OnConnection(DescriptorCall):
    """A call on a connection, told by what it is for the keys."""

    def __init__(
        self, world: World, name: str, regs: Registers, what: Opened, connection: Connection
    ) -> None:
        super().__init__(world, name, regs, what, Action.CALL)
        assert world.store is not None
        self.store, self.connection = world.store, connection
        self.means = Meaning("")
        self.was_timed = False
        """The clock had a say when it was done."""

    @property
    def timed(self) -> bool:
        """Whether the clock has a say in what it does."""
        return False

    def concerns(self, means: Meaning) -> None:
        """Say what it is for others."""
        self.means, self.action = means, means.action
        names = list(map(self.store.name, means.keys))
        if means.everything:
            names.append(SERVER)
        self.object, *rest = names or [self.connection.label]
        self.also = tuple(rest)

    def pending(self, task: Task) -> Pending:
        """As a strategy sees it."""
        return replace(super().pending(task), size=0, timed=self.timed)

    def event(self, task: Task, step: int, time: float, effect: Effect) -> Event:
        """As the trace keeps it: under the name of the command."""
        event = super().event(task, step, time, replace(effect, result=None))
        # A write replaces all of a value, however long it was; a read brings so much.
        size = len(effect.before)
        timed = self.was_timed or self.timed
        return replace(event, call=self.means.name, size=size, timed=timed)


class Sending(OnConnection):
    """A call that sends commands: they are done when it is over."""

    def plan(self, task: Task) -> Sending:
        """See what it will send.

        Raises NotRespError.
        """
        self.bind(task)
        self.data = b"".join(
            task.space.read(address, length) for address, length in self._buffers(task.space)
        )
        self.sent = self.connection.sends(self.data)
        self.concerns(self.sent.means)
        self.is_choice = not self.means.local
        self.waits = False
        return self

    @property
    def timed(self) -> bool:
        """It may depend on the clock: a key has a time to live, or is given one."""
        return self.is_choice and (self.means.timed or self.store.expiry.any)

    def ready(self) -> bool:
        """Whether there is room to send, as there is for any command of a reasonable size."""
        return True

    def perform(self, task: Task) -> Effect:
        """Send, and let the server do it."""
        store, clock, self.was_timed = self.store, self.world.clock, self.timed
        if self.means.dated:
            raise UnexpectedStopError(
                f"{task.name} lets a key end at a time of the calendar ({self.means.name}), and "
                "its own clock is virtual while the server's is not; give a time to live instead"
            )
        limit, patch = self._limit()
        if not self.means.local:
            store.expiry.before(clock)
        others = store.waiting() if limit else set()
        result = self._send(task, patch)
        replies_now = bool(self.sent.commands) and not self.means.waits
        store.settle(self.world, task, self.argument(0), replies_now=replies_now)
        if self.means.local:
            return Effect(result=result)
        found = store.replied(self.world, task, self.argument(0))
        waits = self.means.waits and not found
        effect = Effect() if waits else _effect(self.means, found)
        if store.expiry.any or self.means.timed or self.means.everything:
            failed = effect.action is Action.READ
            store.expiry.after(
                clock,
                {} if failed else dict(self.means.lives),
                certain=not self.means.several,
                watched=store.is_watched,
            )
        if waits:
            self._begin_to_wait(task, limit, others)
        return effect

    def _send(self, task: Task, patch: dict[int, bytes]) -> int:
        """Make the call, with other bytes in a few places."""
        own = {address: task.space.read(address, len(data)) for address, data in patch.items()}
        for address, data in patch.items():
            task.space.write(address, data)
        result = task.machine.run_to_end_of_call(task)
        for address, data in own.items():
            task.space.write(address, data)
        if result == len(self.data):
            self.connection.has_sent(self.sent)
        elif result > 0:
            self.connection.has_sent(self.connection.sends(self.data[:result]))
        return result

    def _limit(self) -> tuple[int, dict[int, bytes]]:
        """The time limit of a wait in nanoseconds, and a patch by which the server has none."""
        if not self.means.limit:
            return 0, {}
        ((start, _),) = self._buffers(self.task.space) if self.task else ((0, 0),)
        word = self.sent.commands[-1][self.means.limit]
        try:
            limit = int(float(word.text) * _NANO)
        except ValueError:
            return 0, {}  # the server will say so
        place = start + word.start - len(self.connection.rest)
        return limit, {place: b"0" * len(word.text)} if limit > 0 else {}

    def _begin_to_wait(self, task: Task, limit: int, others: set[int]) -> None:
        connection, inode = self.connection, self.what.inode
        connection.waiting = self.means
        # Whoever polls it, or closes it, has to do with the key.
        self.world.names.sockets[inode] = self.object
        if limit:
            found = self.store.waiting() - others
            if len(found) != 1:
                raise UnexpectedStopError(
                    f"which client of the Redis server is {task.name} cannot be told: others "
                    "begin to wait there at the same time; use a server of its own"
                )
            (connection.client,) = found
            deadline = self.world.clock + limit
            self.world.timers.append(WaitLimit(self.store, connection, task, deadline))


class Waiting(OnConnection):
    """Reading the reply of a command that waits for others."""

    def plan(self, task: Task) -> Waiting:
        """Say what it waits for."""
        self.bind(task)
        assert self.connection.waiting is not None
        self.concerns(self.connection.waiting)
        self.action, self.events = Action.RECEIVE, select.POLLIN
        self.waits = not self.timed and not self._never_blocks()
        self.waits_for = "an element to be pushed"
        return self

    @property
    def timed(self) -> bool:
        """It gives up after a time, by the command or by an option of the socket."""
        limits = (timer for timer in self.world.timers if isinstance(timer, WaitLimit))
        return self.deadline is not None or any(
            limit.connection is self.connection for limit in limits
        )

    def perform(self, task: Task) -> Effect:
        """Read it, if it is there; the call may also be one that does not wait."""
        self.was_timed = self.timed
        found = self.store.replied(self.world, task, self.argument(0))
        effect = super().perform(task)
        if found:
            _has_waited(self.world, self.what, self.connection)
        return _effect(self.means, found) if effect.result is None or effect.result >= 0 else effect


def _has_waited(world: World, what: Opened, connection: Connection) -> None:
    connection.waiting = None
    world.names.sockets[what.inode] = connection.label
    world.timers = [
        timer
        for timer in world.timers
        if not (isinstance(timer, WaitLimit) and timer.connection is connection)
    ]


def _effect(means: Meaning, found: list[Reply]) -> Effect:
    """What a step did, by the last reply: that of the command itself, or of EXEC."""
    if means.several or not found or means.name in _OF_THE_MOMENT:
        return Effect()
    reply = found[-1]
    if isinstance(reply, Failure):
        return Effect(before=b"-" + reply.text[:_SHOWN], action=Action.READ)
    if means.may_fail and (reply is None or (means.name != "EXEC" and reply in (0, []))):
        return Effect(action=Action.READ)
    value = _text(reply)
    match means.action:
        case Action.WRITE | Action.SEND:
            return Effect(after=(means.value or b"")[:_SHOWN])
        case Action.READ | Action.RECEIVE:
            return Effect(before=value[:_SHOWN])
        case _:
            return Effect()


def _text(reply: Reply) -> bytes:
    match reply:
        case None:
            return _NOTHING
        case bytes():
            return reply
        case list():  # of BLPOP: the key, and then the element
            return _text(reply[-1]) if reply else b""
        case Failure(text):
            return b"-" + text
        case int():
            return b"%d" % reply


class Connecting(AddressCall):
    """connect to the server: who else is connected makes no difference to anybody."""

    is_choice = False

    def perform(self, task: Task) -> Effect:
        """Make the call, and remember that this socket leads there."""
        effect = super().perform(task)
        store = self.world.store
        if effect.result == 0 and store is not None:
            inode = inode_of(task, self.argument(0))
            label = f"redis-connection:{self.world.names.label('socket', inode)}"
            self.world.names.sockets[inode] = label
            store.connected(inode, label)
        return effect


def leading_to_store(models: dict[str, Model]) -> dict[str, Model]:
    """The models of calls that may be made on a connection to the server, and else mean the same.

    Args:
        models: what they mean else.
    """
    return {
        **{name: _on_connection(models[name], sends=True) for name in _SENDING},
        **{name: _on_connection(models[name], sends=False) for name in _READING},
        **{name: _settling(models[name]) for name in ("ioctl", "shutdown", "close")},
        "connect": _connecting(models["connect"]),
    }


_SENDING = ("write", "writev", "sendto", "sendmsg")
_READING = ("read", "readv", "recvfrom", "recvmsg")


def _connecting(otherwise: Model) -> Model:
    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        if world.store is not None:
            operation = Connecting(world, task, name, regs)
            if operation.object == world.store.address:
                return operation
        return otherwise(world, task, name, regs)

    return model


def _settling(otherwise: Model) -> Model:
    """Whether it waits when it is empty, and that it is closed: nobody else's business.

    Unless it is in a queue of the server: then it goes by the name of the key.
    """

    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        if world.store is None:
            return otherwise(world, task, name, regs)
        what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
        connection = world.store.connection(what.inode) if what else None
        if connection is None or connection.waiting is not None:
            return otherwise(world, task, name, regs)
        world.store.stirred = True
        return None

    return model


def _on_connection(otherwise: Model, *, sends: bool) -> Model:
    def model(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
        if world.store is None:
            return otherwise(world, task, name, regs)
        what = opened_by(world, task, regs[0] & 0xFFFFFFFF)
        connection = world.store.connection(what.inode) if what else None
        if what is None or connection is None:
            return otherwise(world, task, name, regs)
        if sends:
            return _sending(world, task, name, regs, what, connection)
        if connection.waiting is None:
            return None  # the reply is there, and nobody else is concerned
        return Waiting(world, name, regs, what, connection).plan(task)

    return model


def _sending(
    world: World, task: Task, name: str, regs: Registers, what: Opened, connection: Connection
) -> Operation:
    try:
        return Sending(world, name, regs, what, connection).plan(task)
    except NotRespError as error:
        raise UnexpectedStopError(
            f"{task.name} speaks to the Redis server in a way that the lab does not understand "
            f"({error}); TLS and commands typed by hand are none that it does"
        ) from None
