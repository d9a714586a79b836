"""Run scenarios one after the other and hand out each result as soon as it is there."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.catalogue import missing
from lab.check import Judged, judge
from lab.commands.output import Output, UsageError
from lab.excerpts import excerpts
from lab.finding import Kind, Result, Verdict
from lab.progress import Stage
from lab.report.story import Report, Story
from lab.run.limits import Isolation, LabError, Limits
from lab.scenario import DeclarationError, Scenario
from lab.source import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lab.commands.baselining import Gate
    from lab.trace import Trace


@dataclass(frozen=True)
class Plan:
    """How scenarios are to be run."""

    runs: int = 1
    isolation: Isolation = Isolation.AUTO
    time_limit: float | None = None
    """Seconds for each run; None: as the scenario declares."""
    settings: Mapping[str, str] = field(default_factory=dict)
    until_shown: bool = False
    """A bug that has shown all that it expects is run no further."""


def demand_linux() -> None:
    """Raise LabError where the lab cannot run anything."""
    # Through a variable: a type checker would otherwise call the rest of its caller unreachable.
    platform: str = sys.platform
    if platform != "linux":
        raise LabError(
            f"the lab runs on Linux only and this is {platform}: it watches /proc and the kernel's "
            "IPC tables; use a Linux machine, virtual machine or container"
        )


def look_here() -> None:
    """Let a function be found in the current directory, as `python -m lab` does.

    Behind all the rest: what is installed is not to be hidden by a file that has its name.
    """
    if "" not in sys.path and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)


def observed(
    scenario: Scenario, plan: Plan, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Result]:
    """Run the scenario as planned and give its one result.

    Interrupted by Ctrl-C it still gives the result of the runs so far, if there are any; the
    KeyboardInterrupt follows when the consumer has dealt with that and asks for more.

    Raises LabError if the machine cannot run it as asked, UsageError for a wrong setting.
    """
    demand_linux()
    arguments = _arguments(scenario, plan.settings)
    if lacking := missing(scenario):
        from lab.verdict import unready

        yield unready(scenario.id, "observed", lacking)
        return
    # Heavy (psutil and all that speaks to Linux), hence here.
    from lab.detect import findings
    from lab.run.observe import observe_body
    from lab.verdict import conclude

    body = functools.partial(scenario.body, **arguments)
    limits = Limits(
        seconds=plan.time_limit or scenario.time_limit, zombie_after=scenario.zombie_after
    )
    parameters = tuple((name, str(value)) for name, value in arguments.items())
    traces: list[Trace] = []
    seen: set[Kind] = set()
    began = time.monotonic()

    def result() -> Result:
        seconds = time.monotonic() - began
        return conclude(traces, scenario=scenario.id, seconds=seconds, parameters=parameters)

    try:
        for run in range(plan.runs):
            progress(Stage(f"{scenario.id}: run {run + 1} of {plan.runs}", run, plan.runs))
            trace = observe_body(
                scenario.id, body, server=scenario.server, limits=limits, isolation=plan.isolation
            )
            traces.append(trace)
            seen |= {finding.kind for finding in findings(traces[-1])}
            if plan.until_shown and scenario.expects and scenario.expects <= seen:
                break
    except KeyboardInterrupt:
        if traces:
            note = f"stopped by Ctrl-C after {len(traces)} of {plan.runs} runs"
            partial = result()
            yield dataclasses.replace(partial, notes=(*partial.notes, note))
        raise
    yield result()


def judged(
    scenarios: Iterable[Scenario], plan: Plan, output: Output, stories: list[Story]
) -> Iterator[Judged]:
    """Run scenarios, compare each with its declaration and add it to the report.

    Interrupts and raises as `observed` does.
    """
    for scenario in scenarios:
        for result in observed(scenario, plan, output.progress):
            verdict = judge(scenario, result)
            stories.append(judged_story(verdict))
            yield verdict


def settings(texts: Sequence[str], scenarios: Iterable[Scenario]) -> dict[str, str]:
    """Read the NAME=VALUE of `-p`.

    One setting may concern some of the scenarios only; each of those must understand it.

    Raises UsageError if one is malformed, concerns no scenario, or has a value of another type.
    """
    scenarios = tuple(scenarios)
    known = dict.fromkeys(p.name for scenario in scenarios for p in scenario.parameters)
    read: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"-p {text}: write it as NAME=VALUE, for example -p writers=3")
        if name not in known:
            raise UsageError(_no_parameter(name, tuple(known), scenarios))
        read[name] = value
    for scenario in scenarios:
        _arguments(scenario, read)
    return read


@contextmanager
def reported(output: Output, gate: Gate | None = None) -> Iterator[list[Story]]:
    """Collect what there is to tell and write the report in the end, however that comes.

    Args:
        output: where to.
        gate: knows what of a baseline was not seen.
    """
    stories: list[Story] = []
    stopped = ""
    try:
        yield stories
    except KeyboardInterrupt:
        stopped = "Ctrl-C"
        raise
    except BaseException as error:
        stopped = str(error) or type(error).__name__
        raise
    finally:
        output.progress("")
        sources = excerpts(event for story in stories for event in story.events)
        gone = gate.gone if gate else None
        if stopped and gone:
            gone = ()  # what was not seen yet is not gone
        output.report(Report(tuple(stories), sources, stopped, gone))


def story(scenario: Scenario, result: Result, differences: tuple[str, ...] | None = None) -> Story:
    """What there is to tell of a scenario, and of its comparison with what it declares."""
    return Story(
        result, summary=scenario.summary, where=place(scenario.body), differences=differences
    )


def judged_story(judged: Judged) -> Story:
    """The same, of one that was compared."""
    told = story(judged.scenario, judged.result, judged.differences)
    return dataclasses.replace(told, undecided=judged.undecided, known=judged.known)


def exit_status(verdicts: Iterable[Verdict]) -> int:
    """The exit status for several verdicts.

    1 (failed) beats 3 (undecided). A finding is knowledge that no later answer can take away,
    while 3 only says that the rest is not known; a CI that retries on 3 must not be invited to
    retry until a bug that was seen is forgotten.
    """
    statuses = {verdict.exit_status for verdict in verdicts}
    return next((status for status in (1, 3) if status in statuses), 0)


def _arguments(scenario: Scenario, given: Mapping[str, str]) -> dict[str, Any]:
    names = {parameter.name for parameter in scenario.parameters}
    try:
        return scenario.arguments({name: text for name, text in given.items() if name in names})
    except DeclarationError as error:
        raise UsageError(str(error)) from error


def _no_parameter(name: str, known: Sequence[str], scenarios: Sequence[Scenario]) -> str:
    of = scenarios[0].id if len(scenarios) == 1 else f"any of the {len(scenarios)} scenarios"
    close = difflib.get_close_matches(name, known, n=3)
    nearest = f"nearest: {', '.join(close)}" if close else f"known: {', '.join(known) or 'none'}"
    return f"-p {name}: no parameter of {of} has that name; {nearest}"
