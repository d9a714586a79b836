"""Where a command's outputs go: text for people, one JSON document for programs, one page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lab.report.style import Style

if TYPE_CHECKING:
    from lab.report.html.story import Story


class UsageError(Exception):
    """What the user asked for makes no sense; the text says what would. Exit status 2."""


class OutputError(Exception):
    """What the lab had to say could not be written: the disk under its output is full, say."""


class Output:
    """The text of a command, and its JSON document and its HTML page if they were asked for.

    With the JSON on standard output, the text goes to standard error, and neither spoils the
    other. `to_stderr` sends it there always: for a command whose standard output is the
    program's.
    """

    def __init__(
        self, json: str | None, *, html: str | None = None, to_stderr: bool = False
    ) -> None:
        self._json, self._html = json, html
        self._stories: list[Story] = []
        self._stream: TextIO = sys.stderr if to_stderr or json == "-" else sys.stdout
        self.style = Style.of(self._stream)
        self._progress_shown = False
        if json == "":
            raise UsageError("--json: the name is empty; give a file's name, or - for stdout")
        if json and json != "-":
            _refuse_unwritable("--json", Path(json))
        if html in ("", "-"):
            raise UsageError(f"--html {html}: give a file's name, for a browser to open")
        if html:
            _refuse_unwritable("--html", Path(html))

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
        # Erase the line: what follows may be shorter than what stands there.
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
        self._progress_shown = bool(text)

    def document(self, data: object) -> None:
        """Write the JSON document, if one was asked for.

        Raises UsageError if the file cannot be written, OutputError if standard output cannot.
        """
        if not self._json:
            return
        from lab.report.json import encode, write

        if self._json == "-":
            _write(sys.stdout, encode(data))
            return
        try:
            write(Path(self._json), encode(data))
        except OSError as error:
            raise UsageError(f"--json {self._json}: {error.strerror}") from error

    def tell(self, story: Story) -> None:
        """Put a story into the page."""
        if self._html:
            self._stories.append(story)

    def page(self, *, stopped: str = "") -> None:
        """Write the page with all that was told, if one was asked for.

        Args:
            stopped: why the command ended before it had done everything.

        Raises UsageError if the file cannot be written.
        """
        if not self._html:
            return
        from lab.excerpts import excerpts
        from lab.report.html import page
        from lab.report.json import write

        sources = excerpts(event for story in self._stories for event in story.events)
        try:
            write(Path(self._html), page(self._stories, sources=sources, stopped=stopped))
        except OSError as error:
            raise UsageError(f"--html {self._html}: {error.strerror}") from error


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


def _refuse_unwritable(option: str, path: Path) -> None:
    # Said before the runs and not after them: their results would be lost.
    folder = path.resolve().parent
    if path.is_dir():
        raise UsageError(f"{option} {path}: that is a directory; give a file's name")
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no directory {folder}; make it first")
    special = path.exists() and not path.is_file()
    # A regular file is replaced, which takes the right to write to its directory.
    if not os.access(path if special else folder, os.W_OK):
        raise UsageError(f"{option} {path}: not writable; choose another place")
