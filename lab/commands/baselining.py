"""`--baseline FILE`: what a command makes of findings that are known already."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from lab.baseline import BadBaseline, Baseline
from lab.commands.output import Output, UsageError
from lab.detect.wording import counted
from lab.finding import Finding, Result, Verdict
from lab.report.style import printable

if TYPE_CHECKING:
    import argparse

    from lab.known import Known
    from lab.report.story import Story


class Gate:
    """Lets known findings pass, and tells in the end what is new and what is gone.

    Without a baseline nothing is known and nothing is told.

    Raises UsageError for a file that is none, before the runs.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._path = None if arguments.baseline is None else Path(arguments.baseline)
        self._updates: bool = arguments.update_baseline
        self._baseline = Baseline()
        self._judged: dict[str, bool] = {}
        """By program: whether all its results could be judged."""
        if self._path is None:
            if self._updates:
                raise UsageError("--update-baseline: say which, with --baseline FILE")
            return
        try:
            self._baseline = Baseline.read(self._path)
        except BadBaseline as bad:
            if not self._updates:
                raise UsageError(f"--baseline: {bad}") from bad
        except FileNotFoundError:
            if not self._updates:
                raise UsageError(
                    f"--baseline: there is no {self._path}; add --update-baseline to make it of "
                    "what is found now"
                ) from None
        except OSError as error:
            raise UsageError(f"--baseline {self._path}: {error.strerror}") from error

    @property
    def there(self) -> bool:
        """A baseline was given."""
        return self._path is not None

    def knows(self, result: Result, finding: Finding) -> bool:
        """Whether the gate lets a result's finding pass: it is known, or is made known now."""
        if self._path is None:
            return False
        known = self._baseline.knows(result.scenario, finding, result.findings)
        return known or self._updates

    def judged(self, result: Result) -> None:
        """Note that a program was run: what is known of it may be gone."""
        decided = result.verdict not in (Verdict.ERROR, Verdict.VACUOUS)
        self._judged[result.scenario] = self._judged.get(result.scenario, True) and decided

    def told(self, story: Story) -> Story:
        """A story that was compared with no declaration, with what of it is known."""
        self.judged(story.result)
        known = (each for each in story.result.findings if self.knows(story.result, each))
        return dataclasses.replace(story, known=tuple(known))

    @property
    def gone(self) -> tuple[Known, ...] | None:
        """What is known of the programs that were run, and was not seen; None without a baseline.

        Of a program of which something could not be judged, nothing is said to be gone.
        """
        return None if self._path is None else self._baseline.gone(self._programs)

    @property
    def _programs(self) -> set[str]:
        return {program for program, decided in self._judged.items() if decided}

    def close(self, output: Output) -> None:
        """Tell what is new and what is gone, and update the file if that was asked for.

        Raises UsageError if it cannot be written.
        """
        if self._path is None:
            return
        programs, gone = self._programs, self.gone or ()
        for finding in gone:
            output.say(printable(f"gone: {finding}"))
        for finding in self._baseline.new:
            output.say(printable(f"new: {finding}"))
        if self._updates:
            try:
                number = self._baseline.write(self._path, programs)
            except OSError as error:
                raise UsageError(f"--baseline {self._path}: {error.strerror}") from error
            output.say(f"{self._path}: {counted(number, 'known finding')} written.")
        elif gone:
            output.say(
                f"{counted(len(gone), 'known finding')} not seen this time. If that is mended, "
                "take it out of the baseline: --update-baseline"
            )
