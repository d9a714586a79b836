"""A few small reports, each of one kind of answer."""

from __future__ import annotations

import dataclasses

from lab.finding import Finding, Kind, Outcome, Result, Verdict
from lab.known import Known
from lab.report.story import Led, Report, Story
from lab.scenario import Scenario, declared, scenario
from lab.trace import Action
from tests.detect.events import in_order, read, step, write

STEPS = in_order(
    step("P0", Action.FORK),
    step("P1", Action.START, "P1"),
    read("P1", 4, where="scenarios/counter.py:31"),
    read("P0", 4, where="scenarios/counter.py:31"),
    write("P0", 4, 5, where="scenarios/counter.py:33"),
    write("P1", 5, 5, where="scenarios/counter.py:34"),
    step("P1", Action.EXIT, "P1"),
    step("P0", Action.WAIT, "P1", call="wait4", result=3),
)
FINDING = Finding(
    Kind.LOST_UPDATE,
    "/counter",
    "Two processes read 4 and both wrote 5.",
    processes=("P1", "P0"),
    advice="Hold a lock from the read to the write.",
    key_steps=(2, 4, 5),
    schedule="1token",
    steps=STEPS,
)
FAILED = Story(
    Result(
        "counter.unguarded",
        "controlled",
        Verdict.FAILED,
        5,
        0.5,
        (FINDING,),
        (2,),
        outcomes=(Outcome("2 of 2 updates", 3, allowed=True),),
    ),
    where="scenarios/counter.py:20",
)
PASSED = Story(Result("counter.guarded", "controlled", Verdict.PASSED, 5, 0.5, reason="no finding"))
ERROR = Story(Result("counter.late", "controlled", Verdict.ERROR, 1, 0.1, reason="it was ended"))
VACUOUS = Story(Result("true", "observed", Verdict.VACUOUS, 1, 0.1, reason="nothing was tested"))
DECLARED = Story(FAILED.result, where=FAILED.where, differences=())
DIFFERS = Story(
    PASSED.result,
    where="scenarios/counter.py:50",
    differences=("counter.guarded: expected lost-update; seen no finding",),
)
UNDECIDED = Story(
    ERROR.result, differences=("counter.late: error, because it was ended",), undecided=True
)
SKIPPED = Story(
    Result("redis_lock.late", "observed", Verdict.ERROR, 0, 0.0, lacking=("a server",)),
    differences=("redis_lock.late: error",),
)
LEAK = Finding(Kind.LEAK, "/jobs", "It was left.", "posix-shm")
KNOWN = Story(FAILED.result, where=FAILED.where, known=(FINDING,))
PARTLY_KNOWN = Story(
    dataclasses.replace(FAILED.result, findings=(FINDING, LEAK), seen_in=(2, 1)),
    where=FAILED.where,
    known=(FINDING,),
)
KNOWN_BESIDE = Story(FAILED.result, where=FAILED.where, differences=(), known=(FINDING,))
"""It is as its scenario declares, but for what is known."""
GONE = (Known.of("counter.guarded", LEAK),)
LED = Story(FAILED.result, FINDING, (Led(PASSED.result, STEPS, ()),))
ALL = Report(
    (
        *(FAILED, PASSED, ERROR, VACUOUS, DECLARED, DIFFERS, UNDECIDED, SKIPPED, LED),
        *(KNOWN, PARTLY_KNOWN, KNOWN_BESIDE),
    ),
    gone=GONE,
)


@scenario(expects=["message-loss", "leak"])
def left_behind() -> None:
    """A queue stays."""


@scenario(fixes="left_behind")
def removed() -> None:
    """It is removed."""


def declaration(body: object) -> Scenario:
    found = declared(body)
    assert found
    return found


BUG, FIX = declaration(left_behind), declaration(removed)
