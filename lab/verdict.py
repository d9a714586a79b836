"""From the traces of some runs to the one answer about the program.

A finding outranks everything. It is a fact about a run that ended, and neither a sandbox that
failed in the next run nor an impatient user can undo it; were such a series an `error`, someone
would run it again until the bug does not show. What went wrong beside it becomes a note.

Without a finding, a single run that the lab could not judge makes the whole an `error`: the other
runs found nothing, but nobody knows what this one would have shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from lab.detect import findings
from lab.detect.traffic import compare
from lab.detect.wording import counted, listed
from lab.finding import Finding, Kind, Outcome, Result, Verdict
from lab.trace import Ending, Messages, Tally, Trace

_UNJUDGED = frozenset({Ending.OVERRUN, Ending.INTERRUPTED, Ending.BROKEN})
_OUTPUT = 4000
"""Characters of a program's output that are kept: its end, where errors are."""


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
    found = [findings(trace) for trace in traces]
    seen: Counter[tuple[Kind, str, str]] = Counter()
    first: dict[tuple[Kind, str, str], Finding] = {}
    for in_run in found:
        for finding in in_run:
            seen[finding.identity] += 1
            first.setdefault(finding.identity, finding)
    undecided = list(_undecided(traces))
    if first:
        verdict, reason = Verdict.FAILED, ""
    elif undecided or not traces:
        verdict, reason = Verdict.ERROR, "; ".join(undecided) or "no run was made"
    elif not any(_tests_something(trace) for trace in traces):
        verdict, reason = Verdict.VACUOUS, _NOTHING
    else:
        verdict, reason = Verdict.PASSED, _scope(traces)
    return Result(
        scenario=scenario,
        mode=traces[0].mode if traces else "observed",
        verdict=verdict,
        runs=len(traces),
        seconds=seconds,
        findings=tuple(first.values()),
        seen_in=tuple(seen[identity] for identity in first),
        reason=reason,
        notes=tuple(dict.fromkeys(_notes(traces, undecided if first else []))),
        outcomes=_outcomes(traces, found),
        output=_output(traces, found),
        isolation=", ".join(dict.fromkeys(t.isolation for t in traces if t.isolation)),
        parameters=parameters,
    )


def _undecided(traces: Sequence[Trace]) -> Iterator[str]:
    for number, trace in enumerate(traces, start=1):
        if trace.ending not in _UNJUDGED:
            continue
        match trace.ending:
            case Ending.OVERRUN:
                why = (
                    f"had more than {trace.process_limit} processes at once and was ended; bound "
                    "the forking, or allow more processes"
                )
            case Ending.INTERRUPTED:
                why = "was interrupted; run it again to know"
            case _:
                why = f"could not be judged: {trace.trouble or 'the sandbox failed'}"
        yield f"run {number} of {len(traces)} {why}"


_NOTHING = (
    "nothing was tested: there was one process and no shared object; let the body start processes "
    "or use an IPC object, or let it return a Tally or Messages"
)


def _tests_something(trace: Trace) -> bool:
    helpers = sum(process.helper for process in trace.processes)
    started = max(trace.processes_started, len(trace.processes)) - helpers
    return started > 1 or bool(trace.objects) or trace.tally is not None


def _scope(traces: Sequence[Trace]) -> str:
    """What a pass is worth, said with it, so that nobody takes it for a proof."""
    way = "controlled" if traces[0].mode == "controlled" else "free"
    each = "it" if len(traces) == 1 else "each"
    return (
        f"no finding in {counted(len(traces), f'{way} run')}; {each} saw one interleaving, so "
        "this proves nothing about the others"
    )


def _notes(traces: Sequence[Trace], undecided: Sequence[str]) -> Iterator[str]:
    yield from undecided
    for trace in traces:
        yield from trace.notes
        if trace.ending in (Ending.COMPLETED, Ending.BROKEN):
            continue
        left = [f"{thing.type} {thing.name}" for thing in trace.objects if thing.left]
        if left:
            yield (
                f"not counted as leaked, since the run was stopped before it could clean up: "
                f"{listed(left)}"
            )


def _outcomes(traces: Sequence[Trace], found: Sequence[tuple[Finding, ...]]) -> tuple[Outcome, ...]:
    """The table of results, the most frequent first; none if no body returned anything.

    A run that gave no result is a row too, for it must not vanish from the shares; a run that
    could not be judged is none, for it is neither allowed nor forbidden.
    """
    if all(trace.tally is None for trace in traces):
        return ()
    rows = Counter(
        _outcome(trace, in_run)
        for trace, in_run in zip(traces, found, strict=True)
        if trace.ending not in _UNJUDGED
    )
    return tuple(
        Outcome(result, runs, allowed)
        for (result, allowed), runs in sorted(rows.items(), key=lambda row: (-row[1], row[0]))
    )


def _outcome(trace: Trace, in_run: tuple[Finding, ...]) -> tuple[str, bool]:
    match trace.tally:
        case Tally(expected, actual, what):
            return f"{actual} of {expected} {what}", actual == expected
        case Messages(sent) as messages:
            traffic = compare(messages)
            faults = {"lost": traffic.lost, "torn": traffic.torn, "never sent": traffic.extra}
            named = [f"{len(items)} {fault}" for fault, items in faults.items() if items]
            return ", ".join([counted(len(sent), "message"), *named]), not named
        case None:
            why = trace.failure.type if trace.failure else trace.ending
            return f"no result: {why}", not in_run


def _output(traces: Sequence[Trace], found: Sequence[tuple[Finding, ...]]) -> str:
    """What the first run that failed printed; if none did, the first that could not be judged."""
    failed = [trace for trace, in_run in zip(traces, found, strict=True) if in_run]
    stopped = [trace for trace in traces if trace.ending is not Ending.COMPLETED]
    output = next((trace.output for trace in failed or stopped), "")
    if len(output) <= _OUTPUT:
        return output
    cut = len(output) - _OUTPUT
    return f"[{cut} of {len(output)} characters are cut here]\n{output[cut:]}"
