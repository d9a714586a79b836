"""What is wrong, with its evidence; and the five verdicts.

The words are fixed: they are spelled so in JSON, in JUnit and in markers, and nothing else in
the lab invents a kind or a verdict.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from lab.trace import Event


class Kind(enum.StrEnum):
    """What can be wrong with a program made of processes.

    In the order in which a reader wants them: why the run did not end, what went wrong between its
    processes, what came of that, what was left lying about. The earlier often explains the later.
    """

    DEADLOCK = "deadlock"
    HANG = "hang"
    LOST_UPDATE = "lost-update"
    TORN_MESSAGE = "torn-message"
    MESSAGE_LOSS = "message-loss"
    DATA_RACE = "data-race"
    CRASH = "crash"
    INVARIANT = "invariant"
    ORPHAN = "orphan"
    ZOMBIE = "zombie"
    LEAK = "leak"


class Verdict(enum.StrEnum):
    """The answer about a program. It fails closed: what was not observed did not pass."""

    FAILED = "failed"
    """At least one finding."""
    PROVED = "proved"
    """Every interleaving in the stated scope was run, and there was no finding."""
    PASSED = "passed"
    """No finding in N runs; the scope was not exhausted."""
    VACUOUS = "vacuous"
    """Nothing shared was observed, so nothing was tested."""
    ERROR = "error"
    """The lab itself could not decide."""

    @property
    def exit_status(self) -> int:
        """The exit status of the command line (2 is kept for usage errors)."""
        match self:
            case Verdict.FAILED:
                return 1
            case Verdict.PROVED | Verdict.PASSED:
                return 0
            case _:
                return 3


@dataclass(frozen=True)
class Shrinkage:
    """What shrinking made of the schedule that first showed a finding."""

    before: int
    """At how many steps it left the default order."""
    after: int
    """At how many it does now."""
    preemptions: int
    """How many of these took the turn from a process that could have gone on."""
    runs: int
    """Further runs that this took; they are not counted among those of the search."""
    complete: bool
    """No simpler schedule was left to try; False: the runs allowed for it were used up."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    `kind`, `subject` and `object` together are what makes two findings of different runs "the
    same": the summary may carry measured numbers, those three may not.
    """

    kind: Kind
    object: str
    """The object concerned, as its user knows it: "/jobs", "counter", "/tmp/request.fifo"."""
    summary: str
    """What happened, in one or two sentences, with the numbers of this run."""
    subject: str = ""
    """A sub-kind where the kind has one: the object type of a leak, "posix-mq"."""
    processes: tuple[str, ...] = ()
    """Logical names of the processes concerned, the one to be mended first."""
    advice: str = ""
    """What to do about it, in one sentence."""
    details: tuple[str, ...] = ()
    """Further facts, one line each: lost messages, a wait-for cycle."""
    key_steps: tuple[int, ...] = ()
    """Of a controlled run: the numbers of the steps that conflict, in order; the last of them is
    the one that does the damage."""
    schedule: str = ""
    """Of a controlled run: the token that `lab replay` takes to show it again."""
    steps: tuple[Event, ...] = ()
    """Of a controlled run: what happened, up to the end of the run or a bound."""
    shrunk: Shrinkage | None = None
    """How the schedule came to be so simple; None if nobody tried to make it so."""

    @property
    def identity(self) -> tuple[Kind, str, str]:
        """What stays the same when the same thing goes wrong in another run."""
        return (self.kind, self.subject, self.object)


@dataclass(frozen=True)
class Occurrence:
    """A finding, and in how many of the runs it was seen."""

    finding: Finding
    """As the first run that showed it tells it."""
    runs: int


@dataclass(frozen=True)
class Result:
    """The answer about one program after all its runs; what every report format is made from."""

    scenario: str
    """The scenario's id, or the command line."""
    mode: str
    """"observed": the program ran freely. "controlled": the lab chose each step."""
    verdict: Verdict
    runs: int
    seconds: float
    findings: tuple[Finding, ...] = ()
    """Distinct findings in the order of their kinds, and of a kind as they were first seen."""
    seen_in: tuple[int, ...] = ()
    """For each finding, in how many runs it was seen."""
    reason: str = ""
    """For `error` and `vacuous`: why, and what to do next. For `passed`: the scope."""
    notes: tuple[str, ...] = ()
    """What a reader should know and what is not a finding."""
    outcomes: tuple[Outcome, ...] = ()
    """How often each distinct result of the body occurred."""
    output: str = ""
    """What the program printed in the first run that failed, cut with a count."""
    isolation: str = ""
    """"namespaces" or "snapshots": how the runs were kept apart from the machine."""
    parameters: tuple[tuple[str, str], ...] = field(default=())
    search: str = ""
    """How schedules were chosen: "random, seed 0". "" for free runs."""
    exhausted: bool = False
    """Every interleaving in the scope of the search was run."""
    saved: int = 0
    """How many of the runs followed saved schedules; they came first."""
    stale: tuple[str, ...] = ()
    """Files with saved schedules that lead to another run now, so that they tell nothing."""
    elsewhere: tuple[str, ...] = ()
    """Those of them that were made on another architecture or Python, which may be why."""

    lacking: tuple[str, ...] = ()
    """What the program needs and this machine has not: it was not run."""

    def __post_init__(self) -> None:
        if len(self.findings) != len(self.seen_in):
            raise ValueError("each finding needs the number of runs that showed it")
        if bool(self.findings) != (self.verdict is Verdict.FAILED):
            raise ValueError(f"{self.verdict} with {len(self.findings)} findings")

    @property
    def occurrences(self) -> tuple[Occurrence, ...]:
        """Findings paired with the number of runs that showed each."""
        return tuple(
            Occurrence(finding, runs)
            for finding, runs in zip(self.findings, self.seen_in, strict=True)
        )


@dataclass(frozen=True, order=True)
class Outcome:
    """One distinct result of the body, and how many runs ended with it."""

    result: str
    runs: int
    allowed: bool
