"""`--baseline FILE`: what a command makes of findings that are known already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.baseline import BadBaseline, Baseline
from lab.commands.output import Output, UsageError
from lab.detect.wording import counted
from lab.finding import Finding, Result, Verdict
from lab.report.style import printable

if TYPE_CHECKING:
    import argparse


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

    def verdict(self, result: Result) -> Verdict:
        """The verdict that counts: a program all of whose findings are known passes."""
        self.judged(result)
        known = [self.knows(result, finding) for finding in result.findings]
        return Verdict.PASSED if known and all(known) else result.verdict

    def close(self, output: Output) -> None:
        """Tell what is new and what is gone, and update the file if that was asked for.

        Raises UsageError if it cannot be written.
        """
        if self._path is None:
            return
        programs = {program for program, decided in self._judged.items() if decided}
        gone = self._baseline.gone(programs)
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
