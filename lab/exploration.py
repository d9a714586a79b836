"""Explore a program: run it under one schedule after another and give the one answer.

This is the door for Python programs and for the command line. It is not called `explore`, for a
module of that name would take the place of the function in `lab`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab.ahead import Ahead, Executor
from lab.corpus import Corpus, Saved
from lab.detect.wording import counted
from lab.essence import Essence
from lab.finding import Finding, Kind, Result
from lab.loop import MOST_STEPS, Outcome, Plan
from lab.loop import replay as replay_once
from lab.loop import search as search_on
from lab.progress import Stage
from lab.run.limits import LabError
from lab.search.foresight import Foreseeable
from lab.search.named import DEFAULT, described
from lab.search.named import strategy as strategy_named
from lab.search.replay import Diverged
from lab.search.shard import divisible
from lab.search.strategy import Strategy
from lab.search.token import Origin, Token, here
from lab.sharding import sharded
from lab.target import Explorable, Target, found_again, target
from lab.trace import Event
from lab.verdict import Series, unready

if TYPE_CHECKING:
    from lab.run.control import Runner

Progress = Callable[[str], None]
_INTERRUPTED = Outcome()
"""What is known of a search that did not come back."""


def explore(
    program: Explorable,
    *,
    strategy: str = DEFAULT,
    schedules: int = 100,
    seed: int = 0,
    depth: int | None = None,
    preemptions: int | None = None,
    max_steps: int = MOST_STEPS,
    stop_at_first: bool = False,
    shrinking: int = Plan.shrinking,
    strict_races: bool = False,
    time_limit: float | None = None,
    parameters: Mapping[str, str] | None = None,
    saved: str | Path | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Progress = lambda _: None,
) -> Result:
    """Run a program under control, each time with another schedule, and judge what it did.

    Args:
        program: a function that forks, uses multiprocessing or starts commands; the id of a
            scenario; or a command with its arguments.
        strategy: which schedule next, one of `lab.search.named.NAMES`.
        schedules: how many at most; fewer are run where a search comes to its end.
        seed: where random choices begin; the same seed gives the same schedules.
        depth: of "pct": how many ordering constraints the bug is thought to need; by default 3.
        preemptions: of "bounded": how many a schedule may have; by default 2.
        max_steps: steps after which one run counts as endless.
        stop_at_first: end with the first run that shows a finding.
        shrinking: further runs that may be made for each finding, to show it by a simpler
            schedule; 0: none.
        strict_races: a data race is a finding, and not just a note: two processes access one place
            in memory, one of them writes, and nothing orders them. So it is anyway for a scenario
            that expects one.
        time_limit: seconds of one run; by default what a scenario declares, or 10.
        parameters: of a scenario, as texts.
        saved: a folder of schedules that failed before: they are run first, and new ones are
            put there; None: neither.
        jobs: how many runs at once, each on a CPU of its own; the answer is the same.
        cluster: the address of a dask scheduler whose workers make the runs instead, HOST:PORT;
            the answer is the same. The program must be one that a name leads to.
        progress: is told in a few words how far it is.

    Raises LabError where control is refused or the program cannot be had, UnknownStrategy,
    WrongSetting, UnknownName, DeclarationError or ValueError for what makes no sense, and
    KeyboardInterrupt after everything was ended.
    """
    wanted = target(program, parameters, time_limit=time_limit)
    plan = Plan(schedules, max_steps, stop_at_first, shrinking, strict_races)
    corpus = None if saved is None else Corpus(Path(saved))
    (result,) = explored(
        wanted,
        plan,
        strategy=strategy,
        seed=seed,
        depth=depth,
        preemptions=preemptions,
        corpus=corpus,
        jobs=jobs,
        cluster=cluster,
        progress=progress,
    )
    return result


def explored(
    wanted: Target,
    plan: Plan,
    *,
    strategy: str,
    seed: int,
    depth: int | None = None,
    preemptions: int | None = None,
    corpus: Corpus | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Progress = lambda _: None,
) -> Iterator[Result]:
    """Explore and give the one result.

    Interrupted by Ctrl-C it still gives the result of the runs so far, if there are any; the
    KeyboardInterrupt follows when the consumer has dealt with that and asks for more.

    Raises as `explore` does.
    """
    if min(plan.schedules, plan.max_steps, jobs) < 1 or plan.shrinking < 0:
        raise ValueError("at least one schedule of at least one step; give 1 or more of each")
    strategies = [
        strategy_named(
            strategy, seed=seed, schedules=plan.schedules, depth=depth, preemptions=preemptions
        )
        for _ in range(min(jobs, plan.schedules))
    ]
    if wanted.lacking:
        yield unready(wanted.name, "controlled", wanted.lacking)
        return
    plan = dataclasses.replace(plan, strict_races=plan.strict_races or wanted.strict_races)
    series, began = Series(), time.monotonic()
    saved = tuple(corpus.of(wanted.origin)) if corpus else ()
    tokens = [each.token for each in saved]
    schedules = len(saved) + plan.schedules

    def heard(run: object) -> None:
        assert isinstance(run, Essence)
        series.add(run)
        progress(_progress(wanted.name, series, schedules, time.monotonic() - began))

    def concluded(*notes: str, of: Outcome = _INTERRUPTED, stale: Sequence[Saved] = ()) -> Result:
        paths = [each.path for each in stale]
        result = series.conclude(
            scenario=wanted.name,
            seconds=time.monotonic() - began,
            parameters=wanted.parameters,
            search=described(strategy, seed=seed, depth=depth, preemptions=preemptions),
            proved_for=of.proved_for,
            astray=of.astray,
        )
        kept = _kept(corpus, result.findings, paths) if corpus else ()
        return dataclasses.replace(
            result,
            notes=(*result.notes, *notes, *kept),
            saved=min(len(saved), series.runs),
            stale=tuple(map(str, paths)),
            elsewhere=tuple(str(each.path) for each in stale if each.token.made_on != here()),
        )

    try:
        outcome = _searched(wanted, plan, strategies, tokens, heard, cluster)
    except KeyboardInterrupt:
        if series.runs:
            yield concluded(f"stopped by Ctrl-C after {series.runs} of {schedules} schedules")
        raise
    except LabError as error:
        if not series.found:
            raise
        # A finding outranks everything: what failed after it can only be told beside it.
        yield concluded(f"the search ended after {series.runs} schedules: {error}")
        return
    series.retell(outcome.findings)
    stale = [saved[index] for index in outcome.stale]
    yield concluded(
        *_notes(outcome),
        *_stale(stale, {finding.identity for finding in series.findings}),
        of=outcome,
        stale=stale,
    )


def _searched(
    wanted: Target,
    plan: Plan,
    strategies: Sequence[Strategy],
    saved: Sequence[Token],
    heard: Callable[[object], None],
    cluster: str | None = None,
) -> Outcome:
    """Search with as many processes as there are strategies, all alike, if that can be done."""
    strategy, jobs = strategies[0], len(strategies)
    if cluster is not None:
        from lab.cluster import Cluster

        with Cluster(cluster, wanted) as executor:
            return _led(executor, wanted, plan, strategy, saved, heard)
    if jobs > 1 and divisible(strategy):
        return sharded(wanted, plan, strategies, saved, heard)
    if jobs > 1 and isinstance(strategy, Foreseeable):
        from lab.run.control import Pool

        with Pool(wanted.program, wanted.limits, jobs) as pool:
            return _led(pool, wanted, plan, strategy, saved, heard)
    # Heavy, and Linux only, hence here.
    from lab.run.control import in_controller

    def work(runner: Runner, report: Callable[[object], None]) -> Outcome:
        return search_on(runner, strategy, plan, wanted.origin, report, saved)

    outcome = in_controller(work, wanted.program, wanted.limits, heard=heard)
    if jobs == 1:
        return outcome
    undivided = f"not divided among {jobs} jobs: this strategy does not tell its next runs"
    return dataclasses.replace(outcome, notes=(*outcome.notes, undivided))


def _led(
    executor: Executor,
    wanted: Target,
    plan: Plan,
    strategy: Strategy,
    saved: Sequence[Token],
    heard: Callable[[object], None],
) -> Outcome:
    """Search here, with runs that are made elsewhere."""
    try:
        return search_on(Ahead(executor, strategy), strategy, plan, wanted.origin, heard, saved)
    except Diverged as diverged:
        raise LabError(
            f"{diverged}. Something in the program does not depend on the schedule alone, so its "
            "interleavings cannot be searched one by one"
        ) from diverged


def _progress(name: str, series: Series, schedules: int, seconds: float) -> Stage:
    """How far it is, how fast, and what is known: all that fits a line."""
    parts = [f"{name}: {series.runs} of {schedules} schedules"]
    if seconds > 0:
        parts.append(f"{series.runs / seconds:.0f}/s")
    if series.distinct:
        parts.append(counted(series.distinct, "outcome"))
    if series.findings:
        parts.append(counted(len(series.findings), "finding"))
    return Stage(", ".join(parts), series.runs, schedules)


def _notes(outcome: Outcome) -> Iterator[str]:
    yield from outcome.notes
    if outcome.pruned:
        runs = counted(outcome.pruned, "further run")
        yield f"{runs} abandoned on the way: what could have come of them was known already"


def _stale(saved: Iterable[Saved], found: Collection[tuple[Kind, str, str]]) -> Iterator[str]:
    """What to think of schedules that led to other runs than they did."""
    for each in saved:
        if each.token.made_on != here():
            why = f"it was made on {each.token.made_on}, and this is {here()}"
        else:
            why = "the program has changed since, or does not depend on its schedule alone"
        text = f"the saved schedule {each.path} is stale: {why}"
        if each.identity in found:
            yield f"{text}; what it showed was found all the same"
        else:
            kind = each.identity[0]
            yield f"{text}. That it shows no {kind} now is no pass; delete it if that is mended"


def _kept(corpus: Corpus, findings: Sequence[Finding], stale: Collection[Path]) -> Iterator[str]:
    try:
        files = dict.fromkeys(str(path) for _, path in corpus.save(findings, stale))
    except OSError as error:
        yield f"its schedule could not be saved: {error.strerror or error}"
        return
    if files:
        yield f"saved, to be run first the next time: {', '.join(files)}"


def replay(
    token: str | Finding,
    program: Explorable | None = None,
    *,
    strict_races: bool = False,
    time_limit: float | None = None,
) -> Result:
    """Run the very schedule of a token again.

    A run that turns out to be another one is an `error` that names the first step known to
    differ, whatever came out of it.

    Args:
        token: as a report shows it, or the finding that carries it.
        program: what to run, where the token cannot find it: a function inside another, say.
        strict_races: a data race is a finding, as it is anyway if that is what is replayed.
        time_limit: seconds of the run; by default what a scenario declares, or 10.

    Raises BadToken for a text that is no token, and otherwise as `explore` does.
    """
    steps: tuple[Event, ...] = ()
    if isinstance(token, Finding):
        strict_races |= token.kind is Kind.DATA_RACE
        steps = token.steps
        token = token.schedule
    if steps and steps[0].step > 0:
        steps = ()  # a long run of which only the end was kept
    read = Token.read(token)
    if program is None:
        wanted = found_again(read.origin, time_limit=time_limit)
    else:
        wanted = target(program, dict(read.origin.parameters) or None, time_limit=time_limit)
    if wanted.lacking:
        return unready(wanted.name, "controlled", wanted.lacking)
    strict_races |= wanted.strict_races
    from lab.run.control import in_controller

    began = time.monotonic()

    def work(runner: Runner, _report: Callable[[object], None]) -> Essence | Diverged:
        try:
            return replay_once(runner, read, steps, strict_races=strict_races)
        except Diverged as diverged:
            return diverged

    answer = in_controller(work, wanted.program, wanted.limits)
    series = Series()
    if isinstance(answer, Essence):
        series.add(answer)
    result = series.conclude(
        scenario=wanted.name,
        seconds=time.monotonic() - began,
        parameters=wanted.parameters,
        search="replay",
    )
    if isinstance(answer, Diverged):
        result = dataclasses.replace(
            result, mode="controlled", runs=1, reason=_astray(answer, read, wanted.origin)
        )
    return result


def _astray(diverged: Diverged, token: Token, origin: Origin) -> str:
    """What to think of a replay that was another run."""
    if token.made_on != here():
        why = f"the token was made on {token.made_on}, and this is {here()}"
    elif origin != token.origin:
        why = f"the token belongs to {token.origin.name}"
    else:
        why = "the program has changed since (the schedule is stale), or depends on more than it"
    return f"{diverged}; {why}"
