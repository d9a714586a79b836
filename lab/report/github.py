"""Annotations for GitHub Actions: lines of a log that mark a line of a pull request.

A runner reads commands from the log, wherever they come from: what a program printed must not
become one. So the text of a report is said between `paused` and `resumed`, and in an annotation
what could end it is encoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.report.story import Standing
from lab.report.style import printable
from lab.report.terminal import again, title

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.finding import Finding
    from lab.report.story import Report, Story

_MOST = 10
"""Annotations of a kind that GitHub shows for one step; more are dropped without a word."""
_LONGEST = 2000
_LEVELS = {Standing.UNDECIDED: "warning", Standing.SKIPPED: "notice", Standing.KNOWN: "notice"}


def paused(secret: str) -> str:
    """What makes a runner read no command until `resumed` with the same secret."""
    return f"::stop-commands::{secret}"


def resumed(secret: str) -> str:
    """See `paused`."""
    return f"::{secret}::"


def render(report: Report) -> str:
    """One line for each thing to be known, up to what GitHub shows, notices last; "" for none."""
    lines = [line for story in report.stories for line in _annotations(story)]
    if report.stopped:
        lines.append(_line("error", None, "race-lab", f"stopped: {report.stopped}"))
    lines += (_line("notice", None, "race-lab", each) for each in report.absences)
    lines.sort(key=lambda line: line.startswith("::notice"))
    if len(lines) > _MOST:
        shown = _MOST - 1
        more = f"shown {shown} of {len(lines)}; the log has them all"
        level = "notice" if lines[shown].startswith("::notice") else "error"
        lines = [*lines[:shown], _line(level, None, "race-lab", more)]
    return "\n".join(lines)


def _annotations(story: Story) -> Iterator[str]:
    name = story.result.scenario
    if story.differences is None and story.result.findings:
        for finding in story.result.findings:
            at = story.place_of(finding)
            level = "notice" if finding in story.known else "error"
            yield _line(level, at, f"{title(finding)} {name}", _message(story, finding))
        return
    level = _LEVELS.get(story.standing, "error")
    for complaint in story.complaints:
        yield _line(level, story.place_of(None), name, complaint)
    for known in story.allowances if level != "notice" else ():
        yield _line("notice", story.place_of(None), name, known)


def _message(story: Story, finding: Finding) -> str:
    known = ["Known: the baseline has it."] if finding in story.known else []
    lines = [*known, finding.summary, *finding.details[:3]]
    if finding.schedule:
        lines.append(f"Replay: {again(finding.schedule)}")
    if finding.advice:
        lines.append(finding.advice)
    return "\n".join(map(printable, lines))


def _line(level: str, at: tuple[str, int] | None, heading: str, message: str) -> str:
    place = f"file={_property(at[0])},line={at[1]}," if at else ""
    text = "\n".join(printable(line) for line in message.split("\n"))
    return f"::{level} {place}title={_property(heading)}::{_data(_cut(text))}"


def _cut(text: str) -> str:
    more = len(text) - _LONGEST
    return text if more <= 0 else f"{text[:_LONGEST]}... ({more} characters more)"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(_cut(printable(text))).replace(":", "%3A").replace(",", "%2C")
