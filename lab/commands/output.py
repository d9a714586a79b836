"""Where a command's outputs go: text for people, and its report in each form asked for."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lab.commands.bar import Bar, bar
from lab.progress import Stage
from lab.report.formats import FORMATS, rendered
from lab.report.github import paused, resumed
from lab.report.style import Style

if TYPE_CHECKING:
    import argparse

    from lab.report.story import Report


class UsageError(Exception):
    """What the user asked for makes no sense; the text says what would. Exit status 2."""


class OutputError(Exception):
    """What the lab had to say could not be written: the disk under its output is full, say."""


class Output:
    """The text of a command, and the files that were asked for.

    With one of them on standard output, the text goes to standard error, and neither spoils the
    other. `to_stderr` sends it there always: for a command whose standard output is the
    program's.

    Args:
        files: for each form of `FORMATS` that is asked for, the name of a file, or - for stdout.
        to_stderr: see above.
        github: mark lines of a pull request, and add to the summary of the job.

    Raises UsageError for a file that cannot be written: before the runs, not after them.
    """

    def __init__(
        self, files: Mapping[str, str | None], *, to_stderr: bool = False, github: bool = False
    ) -> None:
        self._files = {form: name for form, name in files.items() if name is not None}
        on_stdout = [form for form, name in self._files.items() if name == "-"]
        if len(on_stdout) > 1:
            both = " and ".join(f"--{form}" for form in on_stdout)
            raise UsageError(f"{both}: only one of them can go to stdout; give the others a file")
        self.takes_stdout = bool(on_stdout)
        self._stream: TextIO = sys.stderr if to_stderr or on_stdout else sys.stdout
        self.style = Style.of(self._stream)
        self._progress_shown = False
        self._bar: Bar | None = None
        self.asks_for_nothing = not self._files and not github
        self._secret = secrets.token_hex(16) if github else ""
        for form, name in self._files.items():
            if not name:
                raise UsageError(
                    f"--{form}: the name is empty; give a file's name, or - for stdout"
                )
            if name != "-":
                _refuse_unwritable(form, Path(name))
        if github:
            self.say(paused(self._secret))

    @classmethod
    def asked(cls, arguments: argparse.Namespace, *, to_stderr: bool = False) -> Output:
        """What the command line asks for. Raises as the class does."""
        files = {form: getattr(arguments, form, None) for form in FORMATS}
        github = getattr(arguments, "github", False)
        return cls(files, to_stderr=to_stderr, github=github)

    def say(self, text: str = "") -> None:
        """Write a line at once, so that a reader sees each result as it comes.

        Raises OutputError, or BrokenPipeError when the reader went away.
        """
        self.progress("")
        _write(self._stream, f"{text}\n")

    def progress(self, text: str) -> None:
        """Show what is being done, on a terminal only, until the next thing is written."""
        if not sys.stderr.isatty() or not (text or self._progress_shown):
            return
        if isinstance(text, Stage) and not self._progress_shown:
            self._bar = self._bar or bar()
        if self._bar and isinstance(text, Stage):
            self._bar.show(text)
        elif self._bar and not text:
            self._bar.hide()
        else:
            # Erase the line: what follows may be shorter than what stands there.
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        self._progress_shown = bool(text)

    def report(self, report: Report) -> None:
        """Write the report in every form that was asked for.

        Raises UsageError if a file cannot be written, OutputError if standard output cannot.
        """
        for form in self._files:
            self._put(form, rendered(form, report))
        if self._secret:
            self._annotate(report)

    def _annotate(self, report: Report) -> None:
        """Say what GitHub reads from the log, and add to the file that it names for a summary."""
        from lab.report.github import render
        from lab.report.markdown import render as summary

        self.say(resumed(self._secret))
        if lines := render(report):
            self.say(lines)
        self.say(paused(self._secret))  # what a command says in the end is of programs too
        if name := os.environ.get("GITHUB_STEP_SUMMARY"):
            try:
                with Path(name).open("a", encoding="utf-8") as file:
                    file.write(summary(report))
            except OSError as error:
                raise UsageError(f"GITHUB_STEP_SUMMARY={name}: {error.strerror}") from error

    def document(self, data: object) -> None:
        """Write JSON that is no report, if it was asked for. Raises as `report` does."""
        if "json" in self._files:
            from lab.report.json import encode

            self._put("json", encode(data))

    def _put(self, form: str, text: str) -> None:
        from lab.report.json import write

        name = self._files[form]
        if name == "-":
            _write(sys.stdout, text)
            return
        try:
            write(Path(name), text)
        except OSError as error:
            raise UsageError(f"--{form} {name}: {error.strerror}") from error


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"the output could not be written: {error.strerror}; the verdicts are lost"
        ) from error


def _refuse_unwritable(form: str, path: Path) -> None:
    # Said before the runs and not after them: their results would be lost.
    folder = path.resolve().parent
    if path.is_dir():
        raise UsageError(
            f"--{form} {path}: that is a directory; give a file's name, or - for stdout"
        )
    if not folder.is_dir():
        raise UsageError(f"--{form} {path}: there is no directory {folder}; make it first")
    special = path.exists() and not path.is_file()
    # A regular file is replaced, which takes the right to write to its directory.
    if not os.access(path if special else folder, os.W_OK):
        raise UsageError(f"--{form} {path}: not writable; choose another place, or - for stdout")
