"""Pages to test: a small finding beside its fix, and one as long and as evil as they come."""

from __future__ import annotations

from lab.finding import Finding, Kind, Outcome, Result, Verdict
from lab.report.story import Led, Story
from lab.search.guided import Wait
from lab.search.strategy import Pending
from lab.trace import Action, Event
from tests.detect.events import in_order, read, step, write

EVIL = (
    "</script><script>window.injected = 1</script><img src=x onerror='window.injected = 2'>{data}"
)
WHERE = "scenarios/counter.py:164"

_BUG = in_order(
    step("P0", Action.FORK, time=1e-6),
    step("P0", Action.FORK, time=2e-6),
    step("P0", Action.CLOSE, "pipe:1", result=0, time=2e-6),
    step("P1", Action.START, "P1", time=3e-6),
    read("P1", 4, where=WHERE, time=0.5),
    step("P2", Action.START, "P2", time=0.5),
    read("P2", 4, where=WHERE, time=0.5),
    write("P2", 4, 5, where=WHERE, time=0.5),
    write("P1", 5, 5, where=WHERE, time=0.5),
    step("P1", Action.EXIT, "P1", time=0.5),
    step("P0", Action.WAIT, "P1", call="wait4", result=3, time=0.7),
)
_FIX = in_order(
    step("P0", Action.FORK),
    step("P0", Action.FORK),
    step("P1", Action.ACQUIRE, "posix-sem:/s", before=b"\1\0\0\0", after=b"\0\0\0\0"),
    read("P1", 4),
    write("P1", 4, 5),
    step("P1", Action.RELEASE, "posix-sem:/s", before=b"\0\0\0\0", after=b"\1\0\0\0"),
    step("P2", Action.ACQUIRE, "posix-sem:/s", before=b"\1\0\0\0", after=b"\0\0\0\0"),
    read("P2", 5),
    write("P2", 5, 6),
)


def lost(steps: tuple[Event, ...] = _BUG, keys: tuple[int, ...] = (4, 7, 8)) -> Finding:
    return Finding(
        Kind.LOST_UPDATE,
        "posix-shm:/n",
        "P1 read 4 at step 4 and wrote 5 at step 8.",
        processes=("P1", "P2"),
        advice="Hold a lock.",
        key_steps=keys,
        schedule="token",
        steps=steps,
    )


def beside() -> Story:
    """A bug and its fix along the same schedule."""
    bug = Result(
        "counter.bug",
        "controlled",
        Verdict.FAILED,
        100,
        2.0,
        (lost(),),
        (97,),
        outcomes=(Outcome("14 of 15", 97, allowed=False), Outcome("15 of 15", 3, allowed=True)),
    )
    fix = Result("counter.fix", "controlled", Verdict.PASSED, 1, 0.1)
    wait = Wait(5, Pending("P2", Action.ACQUIRE, "posix-sem:/s"))
    return Story(bug, bug.findings[0], (Led(fix, _FIX, (wait,)),))


def long_and_evil(length: int) -> Story:
    """So many steps, and markup wherever a program can put text."""

    def written(n: int) -> Event:
        evil = EVIL if n % 10 == 0 else "x"
        thing, where = f"file:/{evil}", f"{evil}:{n}"
        return write(f"P{1 + n % 5}", n, n + 1, object=thing, where=where, time=n)

    steps = in_order(*map(written, range(length)))
    finding = Finding(
        Kind.LOST_UPDATE, EVIL, EVIL, advice=EVIL, details=(EVIL,), schedule=EVIL,
        key_steps=(length // 2, length // 2 + 4), steps=steps,
    )  # fmt: skip
    result = Result(
        EVIL, "controlled", Verdict.FAILED, 1, 1.0, (finding,), (1,), output=EVIL, notes=(EVIL,),
        outcomes=(Outcome(EVIL, 1, allowed=False),), parameters=((EVIL, EVIL),), search=EVIL,
    )  # fmt: skip
    return Story(result, summary=EVIL)
