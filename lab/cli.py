"""The command line: how a question is put to its command, and each way to end is an exit status.

0  nothing found, or all as declared      1  something found, or not as declared
2  the question made no sense             3  the lab could not decide
130  stopped by Ctrl-C                    141  the reader of the output went away
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import os
import sys
from typing import TYPE_CHECKING

from lab.grammar import COMMANDS, TAKE_A_PROGRAM, grammar
from lab.pristine import start_again

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Raises SystemExit where argparse ends the program: help, version, usage errors.
    """
    try:
        return _run(list(sys.argv[1:] if argv is None else argv), again=argv is None)
    finally:
        _forget_what_cannot_be_said()


def _run(words: list[str], *, again: bool) -> int:
    try:
        _mend_streams()
        if again and _is_to_be_repeated(words):
            start_again()
        status = _dispatch(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as missing:
        if missing.name not in _REQUIRED:
            raise
        return _say(
            f"{missing.name} is not installed for {sys.executable}: the lab runs from a checkout "
            "that was not installed; in it, try: pip install -e .",
            3,
        )
    except BrokenPipeError:
        _forget_output()  # `| head` has read enough
        return 141
    return status


def _forget_what_cannot_be_said() -> None:
    try:
        sys.stderr.flush()
    except OSError:
        # As for stdout: what is left in the buffer would make Python's own status 120 of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _forget_output() -> None:
    # Python flushes stdout once more at exit: give it somewhere to flush to.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_to_be_repeated(words: list[str]) -> bool:
    own = words[: words.index("--")] if "--" in words else words
    return any(word in _CONTROLLED for word in own[:1]) or "--explore" in own


_CONTROLLED = ("explore", "replay", "compare", "check", "catalogue", "gallery")


def _mend_streams() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # Started with `>&-`, Python has no stream there, and the next file that anyone opens
        # would get its number and all that is printed. An open takes the lowest number that is
        # free, so in this order each gets its own back.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is shown escaped; it must not end the lab.
        if isinstance(stream, io.TextIOWrapper):  # a test or a notebook may put another there
            stream.reconfigure(errors="backslashreplace")


def _dispatch(words: list[str]) -> int:
    parser = grammar()
    # Split by hand: argparse's own idea of what follows `--` changed between 3.11 and 3.13.
    at = words.index("--") if "--" in words else len(words)
    own, program = words[:at], words[at + 1 :]
    _refuse_unknown(parser, own)
    arguments, strange = parser.parse_known_args(own)
    if strange:
        parser.prog += f" {arguments.command}"
        is_program = arguments.command in TAKE_A_PROGRAM and not strange[0].startswith("-")
        hint = "; a command to run goes after --" if is_program else ""
        parser.error(f"it does not take {' '.join(strange)}{hint}")
    if arguments.command in TAKE_A_PROGRAM:
        arguments.program = program
    elif program:
        parser.error(
            f"nothing may follow -- in `lab {arguments.command}`; only exec and watch take that"
        )
    command = importlib.import_module(f"lab.commands.{arguments.command}")
    # Each is a mistake of the user's or a limit of the machine, and its text teaches.
    from lab.catalogue import BrokenModule, UnknownName
    from lab.commands.output import OutputError, UsageError
    from lab.run.limits import LabError
    from lab.scenario import DeclarationError

    try:
        status: int = command.execute(arguments)
    except (UnknownName, UsageError) as mistake:
        return _say(mistake, 2)
    except (LabError, BrokenModule, DeclarationError) as trouble:
        return _say(trouble, 3)
    except OutputError as trouble:
        _forget_output()
        return _say(trouble, 3)
    return status


_REQUIRED = ("posix_ipc", "psutil", "sysv_ipc")
"""What is not Python's own, and no command runs without."""


def _say(error: object, status: int) -> int:
    from lab.report.style import printable

    text = printable(str(error))
    # What concerns one command begins with its name: "lab replay: ...". Where that cannot be
    # written either, the status still tells.
    with contextlib.suppress(OSError):
        print(text if text.startswith("lab ") else f"lab: {text}", file=sys.stderr, flush=True)
    return status


def _refuse_unknown(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    # No option before the command takes a value, so the first plain word is the command.
    name = next((word for word in words if not word.startswith("-")), None)
    if name is None or name in COMMANDS:
        return
    close = difflib.get_close_matches(name.lower(), COMMANDS, n=2, cutoff=0.5)
    nearest = f"nearest: {', '.join(close)}" if close else f"there are: {', '.join(COMMANDS)}"
    parser.error(f"there is no command {name!r}; {nearest}")
