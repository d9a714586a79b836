"""Message loss: a message that was sent and that nobody received.

Two witnesses can tell. A queue that outlives the run still holds what nobody took. And the body
may say what was sent and what was received; what then is missing, and is in no queue either, was
lost on the way. A message found in a queue is reported there and not a second time.

Not reported: what is queued when the lab ended the run, since its receivers were stopped before
they could take it; and a message of which a received item holds a piece (`torn-message`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lab.detect.naming import stable_name
from lab.detect.traffic import compare
from lab.detect.wording import counted, listed, quoted
from lab.finding import Finding, Kind
from lab.trace import Ending, Messages, ObjectType, SharedObject, Trace

_QUEUES = frozenset({ObjectType.POSIX_MQ, ObjectType.SYSV_MQ})


def detect(trace: Trace) -> Iterator[Finding]:
    """One finding for each queue that holds messages, and one for all that vanished."""
    queues = _queues(trace)
    for name, left in queues.items():
        yield _queued(trace, name, left)
    if not isinstance(trace.tally, Messages):
        return
    queued = Counter(
        _bare(text) for left in queues.values() for queue in left for text in queue.messages
    )
    lost = []
    for text in compare(trace.tally).lost:
        if queued[_bare(text)]:
            queued[_bare(text)] -= 1
        else:
            lost.append(text)
    if lost:
        yield Finding(
            Kind.MESSAGE_LOSS,
            "messages",
            f"{len(lost)} of {counted(len(trace.tally.sent), 'message')} sent "
            f"{'was' if len(lost) == 1 else 'were'} never received, and no queue holds "
            f"{'it' if len(lost) == 1 else 'them'}.",
            advice="Find who took each of them: a receiver that ended between taking a message and "
            "recording it, or a sender that ignored a failed or short write.",
            details=tuple(quoted(text) for text in lost),
        )


def _queues(trace: Trace) -> dict[str, list[SharedObject]]:
    queues: dict[str, list[SharedObject]] = {}
    if trace.ending is Ending.COMPLETED:
        for thing in trace.objects:
            if thing.left and thing.type in _QUEUES and (thing.messages or thing.size):
                queues.setdefault(stable_name(thing.name), []).append(thing)
    return queues


def _queued(trace: Trace, name: str, left: list[SharedObject]) -> Finding:
    texts = [text for queue in left for text in queue.messages]
    where = listed([f"{queue.type} {queue.name}" for queue in left])
    if texts:
        many = counted(len(texts), "message")
    else:  # the queue could not be read: all that is known is how much is in it
        many = f"Messages of {counted(sum(queue.size for queue in left), 'byte')} in all"
    of = ""
    if texts and isinstance(trace.tally, Messages):
        of = f" of {len(trace.tally.sent)} sent"
    return Finding(
        Kind.MESSAGE_LOSS,
        name,
        f"{many}{of} {'was' if len(texts) == 1 else 'were'} never received: still in {where}.",
        processes=tuple(dict.fromkeys(queue.made_by for queue in left if queue.made_by)),
        advice="Receive until the queue is known to be at its end (a last message from each "
        "sender), not a fixed number of times.",
        details=tuple(quoted(text) for text in texts),
    )


def _bare(text: str) -> str:
    """Without what C programs and fixed-size records pad a text with: the body counts texts."""
    return text.rstrip("\0 \n")
