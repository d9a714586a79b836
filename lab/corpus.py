"""Schedules that failed once, kept in files and run first the next time.

A random search that found a bug yesterday may miss it today; its schedule does not. So what was
found is saved, one small file for each program and finding, in a form that a person can read and
a version control can compare. Whether a bug comes back is then asked of the very run that showed
it, and that answer cannot flake.

A file is written at once or not at all, and only where it brings something: a simpler schedule,
or one for a program that has changed so that the old one leads elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.finding import Finding, Kind
from lab.operation import happening
from lab.report.json import encode, write
from lab.search.token import BadToken, Origin, Source, Token

FOLDER = Path(".lab", "schedules")
"""Where the command line keeps them, in the current directory."""
_FORMAT = 1
_STEPS = 12


class BadFile(ValueError):  # noqa: N818  # the word that a user reads
    """A file that holds no schedule; its text says which, and why."""


@dataclass(frozen=True)
class Saved:
    """One file."""

    path: Path
    token: Token
    identity: tuple[Kind, str, str]
    """Of the finding that it shows."""


class Corpus:
    """The schedules in a folder, which need not exist.

    Args:
        folder: where the files are.
        also: more such folders, in which nothing is written.
        keep: whether to write any.
    """

    def __init__(
        self, folder: Path = FOLDER, *, also: Sequence[Path] = (), keep: bool = True
    ) -> None:
        self._folder, self._also, self._keep = folder, also, keep

    def of(self, origin: Origin) -> Iterator[Saved]:
        """What is saved for a program, folder by folder in order of the files' names.

        Raises BadFile.
        """
        for folder in (self._folder, *self._also):
            for path in sorted(folder.glob("*.json")):
                saved = read(path)
                if saved.token.origin == origin:
                    yield saved

    def save(
        self, findings: Collection[Finding], stale: Collection[Path] = ()
    ) -> Iterator[tuple[Finding, Path]]:
        """Save what has a schedule; gives each finding with its file.

        Args:
            findings: of one program.
            stale: files whose schedules lead elsewhere now, so that any other is better.

        Raises OSError if a file cannot be written.
        """
        for finding in findings if self._keep else ():
            if not finding.schedule:
                continue
            token = Token.read(finding.schedule)
            path = self._folder / _name(token.origin, finding)
            if path in stale or not path.exists() or token.schedule < read(path).token.schedule:
                self._folder.mkdir(parents=True, exist_ok=True)
                write(path, encode(_content(finding, token)))
            yield finding, path


def read(path: Path) -> Saved:
    """The schedule in a file.

    Raises BadFile.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise BadFile(f"{path} is of format {content['format']}; this lab reads {_FORMAT}")
        finding = content["finding"]
        identity = (Kind(finding["kind"]), str(finding["subject"]), str(finding["object"]))
        return Saved(path, Token.read(content["token"]), identity)
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error
    except (BadToken, ValueError, LookupError, TypeError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(
            f"{path} holds no schedule ({_what_is_wrong(error)}); delete it, or restore it"
        ) from error


def _what_is_wrong(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"it is no JSON: {error}"
        case UnicodeDecodeError():
            return "it is no text"
        case LookupError():
            return f"{error} is missing"
        case TypeError():
            return "it is JSON of another shape"
        case _:
            return str(error)


def _name(origin: Origin, finding: Finding) -> str:
    """Telling, and different for different findings: the digest covers what the rest leaves out."""
    of = (origin.source, origin.words, origin.parameters, *finding.identity)
    digest = hashlib.sha256(repr(of).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    words = re.sub(r"[^A-Za-z0-9_.]+", "-", origin.name).strip("-.")
    words = words[: 32 if origin.source is Source.COMMAND else 60].strip("-.")
    return f"{words}.{finding.kind}.{digest}.json"


def _content(finding: Finding, token: Token) -> dict[str, Any]:
    """The token says it all; the rest is for people, and for a reviewer of a change."""
    keys = [event for event in finding.steps if event.step in finding.key_steps][:_STEPS]
    return {
        "format": _FORMAT,
        "program": [token.origin.source, *token.origin.words],
        "parameters": dict(token.origin.parameters),
        "finding": {
            "kind": finding.kind,
            "subject": finding.subject,
            "object": finding.object,
            "summary": finding.summary,
        },
        "preemptions": token.schedule.preemptions,
        "switches": [f"step {step}: {process}" for step, process in token.schedule.deviations],
        "key_steps": [
            # By the file's own name: where the checkout is, is different for everybody.
            f"step {event.step}: {event.process} {happening(event)}  "
            f"{event.where.rpartition('/')[2]}".rstrip()
            for event in keys
        ],
        "made_on": token.made_on,
        "token": finding.schedule,
    }
