"""The gate of a CI run: where what a scenario showed differs from what it declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.corpus import FOLDER
from lab.finding import Finding, Kind, Occurrence, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.scenario import Scenario


_BY_STEPS = frozenset({Kind.DATA_RACE})
"""What a free run cannot show, since it has no steps."""


@dataclass(frozen=True)
class Judged:
    """A scenario, what its runs showed, and where the two differ."""

    scenario: Scenario
    result: Result
    differences: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    """What a reader should know although it decides nothing, one line each."""
    known: tuple[Finding, ...] = ()
    """What it shows and does not declare, and a gate lets pass all the same."""

    @property
    def skipped(self) -> bool:
        """It was not run, for this machine lacks what it needs."""
        return bool(self.result.lacking)

    @property
    def undecided(self) -> bool:
        """The lab could not tell whether the scenario is as it declares."""
        return bool(self.differences) and not self.differs and not self.skipped

    @property
    def differs(self) -> bool:
        """The scenario is known not to be as it declares."""
        if self.result.verdict in (Verdict.ERROR, Verdict.VACUOUS):
            return False
        return len(self.differences) > len(_unanswered(self.scenario, self.result))


Knows = Callable[[Result, Finding], bool]
"""Whether a finding of a result is known, so that a gate lets it pass."""


def judge(scenario: Scenario, result: Result, knows: Knows = lambda *_: False) -> Judged:
    """Compare a result with the declaration of its scenario, but for what is known."""
    known = [each for each in _surplus(scenario, result) if knows(result, each.finding)]
    told = (f"{scenario.id}: known: {_seen(each, result.runs)}" for each in known)
    return Judged(
        scenario,
        result,
        differences(scenario, result, knows),
        (*_remarks(scenario, result), *told),
        tuple(each.finding for each in known),
    )


@dataclass(frozen=True)
class Checked:
    """A scenario after its runs: first the free ones, then those under control."""

    scenario: Scenario
    judged: tuple[Judged, ...]
    """At least one; of those under control one for each seed."""

    @property
    def controlled(self) -> tuple[Judged, ...]:
        """Those of the runs under control; none where only free ones were made."""
        return tuple(each for each in self.judged if each.result.mode == "controlled")

    @property
    def differs(self) -> bool:
        """The scenario is known not to be as it declares."""
        return any(each.differs for each in self.judged)

    @property
    def skipped(self) -> bool:
        """It was not run: that is no pass."""
        return all(each.skipped for each in self.judged)

    @property
    def undecided(self) -> bool:
        """The lab could not tell whether it is."""
        return not self.differs and any(each.undecided for each in self.judged)

    @property
    def worst(self) -> Judged:
        """What a reader is to see of it first."""
        wrong = [each for each in self.judged if each.differs]
        unknown = [each for each in self.judged if each.undecided]
        return next(iter([*wrong, *unknown]), self.judged[-1])

    @property
    def differences(self) -> tuple[str, ...]:
        """One line for each, as `differences` gives them."""
        return tuple(dict.fromkeys(line for each in self.judged for line in each.differences))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know although it decides nothing, one line each."""
        return tuple(line for each in self.judged for line in each.remarks)

    @property
    def told(self) -> tuple[Judged, ...]:
        """Those of the free runs and, of several seeds, the first that differs or the last."""
        told = next((each for each in self.controlled if each.differences), None)
        free = tuple(each for each in self.judged if each.result.mode != "controlled")
        return (*free, *((told,) if told else self.controlled[-1:]))


@dataclass(frozen=True)
class Check:
    """All that one check came to know: what every report about it is made from."""

    scenarios: tuple[Checked, ...]
    wanted: int
    """How many were to be checked; more than there are if it was stopped."""

    @property
    def differing(self) -> tuple[Checked, ...]:
        """Those that are known not to be as they declare."""
        return tuple(each for each in self.scenarios if each.differs)

    @property
    def undecided(self) -> tuple[Checked, ...]:
        """Those of which the lab could not tell."""
        return tuple(each for each in self.scenarios if each.undecided)

    @property
    def skipped(self) -> tuple[Checked, ...]:
        """Those that were not run."""
        return tuple(each for each in self.scenarios if each.skipped)

    @property
    def exit_status(self) -> int:
        """As `exit_status` gives it."""
        return exit_status(each for checked in self.scenarios for each in checked.judged)


def exit_status(judged: Iterable[Judged]) -> int:
    """0: all as declared; 1: something differs; 3: nothing differs, something is undecided.

    What was skipped decides nothing; but if all was, nothing is known. The same order as for
    verdicts: what is known to be wrong outweighs what is not known.
    """
    judged = tuple(judged)
    if any(each.differs for each in judged):
        return 1
    if judged and all(each.skipped for each in judged):
        return 3
    return 3 if any(each.undecided for each in judged) else 0


def differences(
    scenario: Scenario, result: Result, knows: Knows = lambda *_: False
) -> tuple[str, ...]:
    """One line for each way in which the result is not what the scenario declares.

    A bug must show every kind that it expects in at least one run, and nothing beside that
    or what it may show. A fix must show nothing, and must have been decided: a fix that passed
    because nothing was observed is a difference too. So is a saved schedule that is stale: it
    was kept in order to be asked, and it did not answer. Of a bug it did, if what is expected
    was shown all the same; and one that was made on another Python is not asked for the last word.
    """
    if result.verdict in (Verdict.ERROR, Verdict.VACUOUS):
        why = result.reason or "no reason was given"
        told = f"{result.verdict}, because {why}"
        return (_line(scenario, result, _expected(scenario.expects), told),)
    expects = scenario.expects
    if result.mode != "controlled":
        expects -= _BY_STEPS
    allowed = _allowed(scenario)
    seen = {finding.kind for finding in result.findings}
    absent = [
        _line(scenario, result, kind, f"{_kinds(seen)} in {_runs(result.runs)}")
        for kind in sorted(expects - seen)
    ]
    surplus = [
        _line(scenario, result, _expected(allowed), _seen(occurrence, result.runs))
        for occurrence in _surplus(scenario, result)
        if not knows(result, occurrence.finding)
    ]
    stale = [
        f"{scenario.id}: the saved schedule {path} is stale, the program has changed since. "
        f"{_renewed(scenario, path)}; or delete the file"
        for path in _unanswered(scenario, result)
    ]
    return (*absent, *surplus, *stale)


def _allowed(scenario: Scenario) -> frozenset[Kind]:
    return scenario.expects | scenario.may_show if scenario.role == "bug" else frozenset()


def _surplus(scenario: Scenario, result: Result) -> Iterator[Occurrence]:
    """What it shows and may not."""
    allowed = _allowed(scenario)
    return (each for each in result.occurrences if each.finding.kind not in allowed)


def _unanswered(scenario: Scenario, result: Result) -> tuple[str, ...]:
    """The saved schedules that are stale, so that the question they were kept for is open."""
    if scenario.role == "fix":
        return result.stale
    if result.runs <= result.saved and scenario.expects <= {each.kind for each in result.findings}:
        return ()
    return tuple(path for path in result.stale if path not in result.elsewhere)


def _remarks(scenario: Scenario, result: Result) -> tuple[str, ...]:
    open_still = _unanswered(scenario, result)
    return tuple(
        f"{scenario.id}: the saved schedule {path} leads to another run now, which shows the same. "
        f"{_renewed(scenario, path)}"
        for path in result.stale
        if path not in (*open_still, *result.elsewhere)
    )


def _renewed(scenario: Scenario, path: str) -> str:
    if Path(path).parent == FOLDER:
        return f"Explore it anew and keep what that finds: lab explore {scenario.id}"
    return f"Search it anew and keep what that finds: lab check --save {scenario.id}"


def _line(scenario: Scenario, result: Result, expected: str, seen: str) -> str:
    command = "explore" if result.mode == "controlled" else "run"
    return (
        f"{scenario.id}: expected {expected}; seen {seen}. Look closer: lab {command} {scenario.id}"
    )


def _expected(kinds: frozenset[Kind]) -> str:
    if not kinds:
        return "no finding"
    return f"{_kinds(kinds)} and nothing else"


def _kinds(kinds: set[Kind] | frozenset[Kind]) -> str:
    return ", ".join(sorted(kinds)) or "no finding"


def _seen(occurrence: Occurrence, runs: int) -> str:
    return f"{_name(occurrence.finding)} in {occurrence.runs} of {_runs(runs)}"


def _name(finding: Finding) -> str:
    words = [finding.kind, *([finding.subject] if finding.subject else [])]
    return " ".join(words) + (f" of {finding.object}" if finding.object else "")


def _runs(number: int) -> str:
    return f"{number} run" if number == 1 else f"{number} runs"
