"""A client's connection: what was sent over it so far, and what it waits for.

The server keeps a state for each connection, and what a later command touches depends on it:
after MULTI commands are queued, and EXEC touches the keys of them all, and those that were watched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.run.control.redis.meaning import Meaning, meaning, together
from lab.run.control.redis.wire import Command, commands
from lab.trace import Action


@dataclass(frozen=True)
class Sent:
    """What a call sends: the commands that it completes."""

    commands: tuple[Command, ...]
    means: Meaning
    rest: bytes
    """What begins a further command."""
    watched: tuple[bytes, ...]
    queue: tuple[Meaning, ...] | None


@dataclass
class Connection:
    """A client's connection to the server."""

    label: str
    """What it is called, when nobody else is concerned."""
    rest: bytes = b""
    """Of a command that is not complete yet."""
    watched: tuple[bytes, ...] = ()
    queue: tuple[Meaning, ...] | None = None
    """Commands since MULTI; None: none are being queued."""
    waiting: Meaning | None = None
    """The command that it waits for the answer of."""
    client: int = 0
    """The server's number for it while it waits with a time limit."""

    def sends(self, data: bytes) -> Sent:
        """What it will have sent with some more bytes.

        Raises NotRespError.
        """
        found, rest = commands(self.rest + data)
        watched, queue = self.watched, self.queue
        acting: list[Meaning] = []
        for command in found:
            means = meaning(tuple(word.text for word in command))
            match means.name:
                case "MULTI":
                    queue = ()
                case "DISCARD" | "UNWATCH":
                    watched, queue = (), None
                case "EXEC":
                    acting.append(_executed(queue or (), watched))
                    watched, queue = (), None
                case _ if queue is not None:
                    queue = (*queue, means)
                case "WATCH":
                    watched += means.keys
                    acting.append(means)
                case _:
                    acting.append(means)
        return Sent(tuple(found), together(acting), rest, watched, queue)

    def has_sent(self, sent: Sent) -> None:
        """It was sent."""
        self.rest, self.watched, self.queue = sent.rest, sent.watched, sent.queue


def _executed(queue: tuple[Meaning, ...], watched: tuple[bytes, ...]) -> Meaning:
    """EXEC: commands in it never wait, and the keys that were watched decide whether it acts."""
    whole = together(list(queue))
    keys = tuple(dict.fromkeys((*whole.keys, *watched)))
    if whole.local:
        return Meaning("EXEC", Action.READ, keys, local=not keys)
    return replace(whole, name="EXEC", keys=keys, waits=False, limit=0, may_fail=True)
