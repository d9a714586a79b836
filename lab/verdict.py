"""From the traces of some runs to the one answer about the program.

A finding outranks everything. It is a fact about a run that ended, and neither a sandbox that
failed in the next run nor an impatient user can undo it; were such a series an `error`, someone
would run it again until the bug does not show. What went wrong beside it becomes a note.

Without a finding, a single run that the lab could not judge makes the whole an `error`: the other
runs found nothing, but nobody knows what this one would have shown.

A series of runs keeps counts and the first telling of each finding, and does not grow with their
number: a search makes thousands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from lab.detect.wording import counted
from lab.essence import Essence, essence
from lab.finding import Finding, Kind, Outcome, Result, Verdict
from lab.trace import Trace

_TOLD = 5
"""Runs that could not be judged of which each is told."""


def conclude(
    traces: Sequence[Trace],
    *,
    scenario: str,
    seconds: float,
    parameters: tuple[tuple[str, str], ...] = (),
) -> Result:
    """Judge the runs of one program.

    Args:
        traces: one for each run.
        scenario: the scenario's id, or the command line.
        seconds: how long all runs took.
        parameters: names and values with which it ran.
    """
    series = Series()
    for trace in traces:
        series.add(essence(trace))
    return series.conclude(scenario=scenario, seconds=seconds, parameters=parameters)


def unready(scenario: str, mode: str, lacking: Sequence[str]) -> Result:
    """The answer about a program that cannot be run here, for the machine lacks what it needs."""
    return Result(
        scenario,
        mode,
        Verdict.ERROR,
        0,
        0.0,
        reason=f"it needs {', '.join(lacking)}, which this machine lacks; install it, then try "
        "again",
        lacking=tuple(lacking),
    )


class Series:
    """What all runs of one program so far have shown."""

    def __init__(self) -> None:
        self.runs = 0
        self._first: dict[tuple[Kind, str, str], Finding] = {}
        self._counts: Counter[tuple[Kind, str, str]] = Counter()
        self._races: dict[tuple[Kind, str, str], Finding] = {}
        self._undecided: list[tuple[int, str]] = []
        self._undecided_runs = 0
        self._rows: Counter[tuple[str, bool]] = Counter()
        self._notes: dict[str, None] = {}
        self._unvaried: dict[str, None] = {}
        self._isolations: dict[str, None] = {}
        self._mode = "observed"
        self._tests_something = self._shares_objects = self._has_result = False
        self._output: tuple[bool, str] | None = None

    @property
    def found(self) -> bool:
        """Whether anything was wrong with any run."""
        return bool(self._first)

    @property
    def distinct(self) -> int:
        """How many different results came out, where the program gives any."""
        return len(self._rows) if self._has_result else 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was wrong, each thing once."""
        return tuple(self._first.values())

    def add(self, run: Essence) -> None:
        """Count one more run.

        A finding is told as the first run that showed it tells it; unless a later one brings
        its schedule, which a search attaches to the simplest that it has met.
        """
        if not self.runs:
            self._mode = run.mode
        self.runs += 1
        for finding in run.findings:
            self._counts[finding.identity] += 1
            if finding.schedule or finding.identity not in self._first:
                self._first[finding.identity] = finding
        for race in run.races:
            self._counts[race.identity] += 1
            self._races.setdefault(race.identity, race)
        if run.undecided:
            self._undecided_runs += 1
            if len(self._undecided) < _TOLD:
                self._undecided.append((self.runs, run.undecided))
        else:
            self._rows[run.outcome] += 1
        self._has_result |= run.has_result
        self._tests_something |= run.tests_something
        self._shares_objects |= run.shares_objects
        self._notes |= dict.fromkeys(run.notes)
        self._unvaried |= dict.fromkeys(run.unvaried)
        if run.isolation:
            self._isolations[run.isolation] = None
        failed = bool(run.findings)
        if (failed or not run.completed) and (self._output is None or failed > self._output[0]):
            self._output = (failed, run.output)

    def retell(self, findings: Iterable[Finding]) -> None:
        """Tell findings that were counted already with what has become known of them since."""
        self._first |= {each.identity: each for each in findings if each.identity in self._first}

    def conclude(
        self,
        *,
        scenario: str,
        seconds: float,
        parameters: tuple[tuple[str, str], ...] = (),
        search: str = "",
        proved_for: str = "",
        astray: str = "",
    ) -> Result:
        """The answer.

        Args:
            scenario: the scenario's id, or the command line.
            seconds: how long all runs took.
            parameters: names and values with which it ran.
            search: how the schedules of controlled runs were chosen.
            proved_for: the scope in which that search left no interleaving out; "" if it did.
            astray: why it could not be trusted any more; "" if it could.
        """
        findings = tuple(sorted(self._first.values(), key=lambda each: _RANK[each.kind]))
        undecided = [*self._tell_undecided(), *([astray] if astray else [])]
        verdict, reason = self._verdict(undecided, search, proved_for)
        told = [*(undecided if self._first else []), *self._tell_races()]
        notes = dict.fromkeys(told) | self._notes
        if verdict in (Verdict.PASSED, Verdict.PROVED) and not self._shares_objects:
            notes[_ONLY_LIVES] = None
        return Result(
            scenario=scenario,
            mode=self._mode,
            verdict=verdict,
            runs=self.runs,
            seconds=seconds,
            findings=findings,
            seen_in=tuple(self._counts[finding.identity] for finding in findings),
            reason=reason,
            notes=tuple(notes),
            outcomes=self._outcomes(),
            output=self._output[1] if self._output else "",
            isolation=", ".join(self._isolations),
            parameters=parameters,
            search=search,
            exhausted=bool(proved_for),
        )

    def _verdict(
        self, undecided: Sequence[str], search: str, proved_for: str
    ) -> tuple[Verdict, str]:
        if self._first:
            return Verdict.FAILED, ""
        if undecided or not self.runs:
            return Verdict.ERROR, "; ".join(undecided) or "no run was made"
        if not self._tests_something:
            return Verdict.VACUOUS, _NOTHING_TO_CONTROL if search else _NOTHING
        if proved_for and self._unvaried:
            runs = counted(self.runs, "controlled run")
            return Verdict.PASSED, (
                f"no finding in {runs}; that was {proved_for}, and yet is no proof: "
                f"{'; '.join(self._unvaried)}"
            )
        if proved_for:
            runs = counted(self.runs, "controlled run")
            return Verdict.PROVED, f"no finding in {runs}; proved for {proved_for}"
        return Verdict.PASSED, _scope(self.runs, self._mode)

    def _tell_undecided(self) -> Iterator[str]:
        for number, why in self._undecided:
            yield f"run {number} of {self.runs} {why}"
        if more := self._undecided_runs - len(self._undecided):
            yield f"{more} other runs could not be judged either"

    def _tell_races(self) -> Iterator[str]:
        explained = {finding.object for finding in self._first.values()}
        for identity, race in self._races.items():
            if race.object in explained:
                continue  # what came of it is told already
            yield (
                f"data race on {race.object} in {self._counts[identity]} of "
                f"{counted(self.runs, 'run')}: {race.summary} By itself that is no failure; "
                "--strict-races makes it one"
            )

    def _outcomes(self) -> tuple[Outcome, ...]:
        """The table of results, the most frequent first; none if no body returned anything.

        A run that gave no result is a row too, for it must not vanish from the shares; a run
        that could not be judged is none, for it is neither allowed nor forbidden.
        """
        if not self._has_result:
            return ()
        rows = sorted(self._rows.items(), key=lambda row: (-row[1], row[0]))
        return tuple(Outcome(result, runs, allowed) for (result, allowed), runs in rows)


_RANK = {kind: rank for rank, kind in enumerate(Kind)}
_NOTHING = (
    "nothing was tested: there was one process and no shared object; let the body start processes "
    "or use an IPC object, or let it return a Tally or Messages"
)
_NOTHING_TO_CONTROL = (
    "nothing was tested: no two processes touched the same memory, file, queue, lock or process, "
    "so every order of their steps is the same; memory is shared only if it is mapped so (a "
    "variable, a list or a dict is copied by fork)"
)
_ONLY_LIVES = (
    "the processes shared nothing but their exits and signals: no memory, file, queue or lock was "
    "touched by two of them"
)


def _scope(runs: int, mode: str) -> str:
    """What a pass is worth, said with it, so that nobody takes it for a proof."""
    way = "controlled" if mode == "controlled" else "free"
    each = "it" if runs == 1 else "each"
    return (
        f"no finding in {counted(runs, f'{way} run')}; {each} saw one interleaving, so "
        "this proves nothing about the others"
    )
