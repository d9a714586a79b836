"""A result as text of 80 columns: the one that the terminal, pytest and JUnit share.

The order never changes, so that nobody scrolls to reach the verdict: what is wrong and how
often, the facts, what to do about it, the outcomes, how it was run.
"""

from __future__ import annotations

from lab.finding import Finding, Kind, Outcome, Result, Shrinkage, Verdict
from lab.report.steps import table
from lab.report.style import PLAIN, WIDTH, Style, columns, cut, printable, wrapped
from lab.search.token import BadToken, Source, Token

_OUTPUT_LINES = 12
_DETAIL_LINES = 12


def render(result: Result, style: Style = PLAIN, *, how: bool = True) -> str:
    """The whole result as text, without a newline at its end.

    Everything that came from the program under test is escaped. Without `how`, it is not told how
    the runs were made and how long they took: that is another each time.
    """
    parts = [_finding(result, finding, runs, style) for finding, runs in _found(result)]
    if not parts:
        parts.append(_without_finding(result, style))
    if result.outcomes:
        parts.append(_outcomes(result.outcomes, style))
    parts.extend(wrapped(f"Note: {note}") for note in result.notes)
    told = [line for finding in result.findings for line in finding.details]
    is_told = result.output.splitlines() == told  # a traceback, and nothing else
    if result.output and not is_told and result.verdict in (Verdict.FAILED, Verdict.ERROR):
        parts.append(_output(result.output, style))
    if how:
        parts.append(style.paint(wrapped(_how(result)), "dim"))
    return "\n".join(parts)


def again(token: str, *, strict_races: bool = False) -> str:
    """What shows the run of a token again: a command, or a line of Python.

    That is for a test, and for a function that cannot be found by its name.

    Args:
        token: as a finding carries it.
        strict_races: what it shows is a data race, which is not told otherwise.
    """
    try:
        origin = Token.read(token).origin
    except BadToken:
        return printable(token)
    if origin.source is Source.FUNCTION and not origin.has_a_name:
        return f'lab.replay("{token}"{", strict_races=True" if strict_races else ""})'
    if origin.source is Source.TEST:
        return f'@pytest.mark.race(replay="{token}"{", strict_races=True" if strict_races else ""})'
    return f"lab replay {token}{' --strict-races' if strict_races else ''}"


def kinds(result: Result) -> str:
    """The kinds of what was found, each once, in the order in which they were seen."""
    return ", ".join(dict.fromkeys(finding.kind for finding in result.findings))


def title(finding: Finding) -> str:
    """A finding's kind, and its sub-kind, as a heading: LOST UPDATE, LEAK posix-mq."""
    kind = finding.kind.replace("-", " ").upper()
    # Sub-kinds are short words of the lab's own; a longer one would push the verdict away.
    return f"{kind} {cut(finding.subject, 20)}" if finding.subject else kind


def mark(verdict: Verdict, style: Style) -> tuple[str, str]:
    """The glyph of a verdict, and the colour that repeats it."""
    match verdict:
        case Verdict.FAILED:
            return style.bad, "red"
        case Verdict.PASSED | Verdict.PROVED:
            return style.good, "green"
        case _:
            return style.unknown, "yellow"


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 run, 2 runs."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def heading(left: str, name: str, right: str, look: str, style: Style) -> str:
    """A line that begins with what matters, painted, and ends flush right; the name gives way."""
    room = WIDTH - columns(left) - columns(right) - 4
    shown = cut(name, max(room, 8))
    gap = " " * max(2, WIDTH - columns(left) - 2 - columns(shown) - columns(right))
    return f"{style.paint(left, look, 'bold')}  {style.paint(shown, 'bold')}{gap}{right}"


def _found(result: Result) -> tuple[tuple[Finding, int], ...]:
    return tuple(zip(result.findings, result.seen_in, strict=True))


def _finding(result: Result, finding: Finding, runs: int, style: Style) -> str:
    glyph, look = mark(result.verdict, style)
    verdict = f"{result.verdict}, {runs} of {count(result.runs, 'run')}"
    lines = [
        heading(f"{glyph} {title(finding)}", result.scenario, verdict, look, style),
        wrapped(finding.summary),
        *([steps] if (steps := table(finding, style)) else []),
        *(wrapped(detail, indent="    ", hang="      ") for detail in _some(finding.details)),
    ]
    if finding.schedule:
        first = next(each for each in result.findings if each.schedule == finding.schedule)
        # On one line whatever its length: it is there to be copied.
        strict = any(each.kind is Kind.DATA_RACE for each in result.findings)
        how = (
            again(finding.schedule, strict_races=strict)
            if first is finding
            else "the same run shows this too"
        )
        lines.append(f"  Replay: {how}")
    if finding.shrunk:
        lines.append(style.paint(wrapped(shrunk(finding.shrunk), hang="    "), "dim"))
    if finding.advice:
        lines.append(wrapped(finding.advice, indent=f"  {style.arrow} ", hang="    "))
    return "\n".join(lines)


def shrunk(shrinkage: Shrinkage) -> str:
    """How simple the schedule is, and what it was made from: choices out of the default order."""
    before = count(shrinkage.before, "choice out of turn", "choices out of turn")
    if not shrinkage.after:
        return "It happens in the default order" + (
            f"; found with {before}" if shrinkage.before else ""
        )
    preemptions = count(shrinkage.preemptions, "preemption")
    runs = count(shrinkage.runs, "further run")
    if shrinkage.before == shrinkage.after:
        text = f"It takes {before} ({preemptions}); {runs} found nothing simpler"
    else:
        text = f"Shrunk from {before} to {shrinkage.after} ({preemptions}) in {runs}"
    return text if shrinkage.complete else f"{text}, and more were not allowed"


def _some(details: tuple[str, ...]) -> tuple[str, ...]:
    if len(details) <= _DETAIL_LINES:
        return details
    shown = details[: _DETAIL_LINES - 1]
    return (*shown, f"(shown {len(shown)} of {len(details)}; the JSON has them all)")


def _without_finding(result: Result, style: Style) -> str:
    glyph, look = mark(result.verdict, style)
    undecided = result.verdict in (Verdict.ERROR, Verdict.VACUOUS)
    right = "undecided" if undecided else f"no finding in {count(result.runs, 'run')}"
    head = heading(f"{glyph} {result.verdict.upper()}", result.scenario, right, look, style)
    return f"{head}\n{wrapped(result.reason)}" if result.reason else head


def _outcomes(outcomes: tuple[Outcome, ...], style: Style) -> str:
    runs = sum(outcome.runs for outcome in outcomes)
    texts = [cut(outcome.result, 40) for outcome in outcomes]
    width = max(len("RESULT"), *(columns(text) for text in texts))
    lines = [style.paint(f"  RESULT{' ' * (width - 6)}  RUNS   SHARE  EXPECT", "dim")]
    for text, outcome in zip(texts, outcomes, strict=True):
        padded = text + " " * (width - columns(text))
        expect = "allowed" if outcome.allowed else style.paint("FORBIDDEN", "red")
        lines.append(f"  {padded}  {outcome.runs:>4}  {outcome.runs / runs:>6.1%}  {expect}")
    return "\n".join(lines)


def _output(output: str, style: Style) -> str:
    lines = output.expandtabs().splitlines()
    shown = lines[-_OUTPUT_LINES:]
    head = "  It printed"
    if len(shown) < len(lines):
        head += f" (the last {len(shown)} of {len(lines)} lines)"
    return "\n".join((f"{head}:", *(f"  {style.bar} {cut(line, WIDTH - 4)}" for line in shown)))


def _how(result: Result) -> str:
    seconds = f"{result.seconds:.1f}" if result.seconds >= 1 else f"{result.seconds:.2f}"
    how = f"{count(result.runs, 'run')} in {seconds} s, {result.mode}"
    if result.search:
        how += f" ({result.search})"
    if result.isolation:
        how += f", isolation by {result.isolation}"
    if result.parameters:
        how += "; " + " ".join(f"{name}={value}" for name, value in result.parameters)
    return how
