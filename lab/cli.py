"""The command line: what may be asked, and how every way to end becomes an exit status.

0  nothing found, or all as declared      1  something found, or not as declared
2  the question made no sense             3  the lab could not decide
130  stopped by Ctrl-C                    141  the reader of the output went away
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import io
import math
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from lab import __version__
from lab.pristine import start_again

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "demo": "every bug beside its fix: start here",
    "list": "what there is to run",
    "show": "the code of a bug and of its fix, and what makes the difference",
    "run": "run scenarios and tell everything about each",
    "explore": "decide which process moves when, and find the race every time",
    "replay": "show the very run of a token again",
    "compare": "lead a fix along the schedule of its bug, and show where it waits",
    "check": "the CI gate: every bug must show itself, every fix must hold",
    "exec": "watch any program: lab exec -- COMMAND ARGS...",
    "watch": "a live view of processes that run now: lab watch -- COMMAND, or --pid PID",
    "doctor": "what this machine allows, and how to get what is missing",
}

_EXIT = "exit status: 0 nothing found, 1 something found, 2 usage, 3 undecided, 130 Ctrl-C"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Raises SystemExit where argparse ends the program: help, version, usage errors.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and _is_to_be_repeated(words):
        start_again()
    _mend_streams()
    try:
        status = _dispatch(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _forget_output()  # `| head` has read enough
        return 141
    return status


def _forget_output() -> None:
    # Python flushes stdout once more at exit: give it somewhere to flush to.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_to_be_repeated(words: list[str]) -> bool:
    own = words[: words.index("--")] if "--" in words else words
    return any(word in _CONTROLLED for word in own[:1]) or "--explore" in own


_TAKES_A_PROGRAM = ("exec", "watch")
_CONTROLLED = ("explore", "replay", "compare", "check")


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
    parser = _grammar()
    # Split by hand: argparse's own idea of what follows `--` changed between 3.11 and 3.13.
    at = words.index("--") if "--" in words else len(words)
    own, program = words[:at], words[at + 1 :]
    _refuse_unknown(parser, own)
    arguments, strange = parser.parse_known_args(own)
    if strange:
        parser.prog += f" {arguments.command}"
        is_program = arguments.command in _TAKES_A_PROGRAM and not strange[0].startswith("-")
        hint = "; a command to run goes after --" if is_program else ""
        parser.error(f"it does not take {' '.join(strange)}{hint}")
    if arguments.command in _TAKES_A_PROGRAM:
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


def _say(error: Exception, status: int) -> int:
    from lab.report.style import printable

    text = printable(str(error))
    # What concerns one command begins with its name: "lab replay: ...".
    print(text if text.startswith("lab ") else f"lab: {text}", file=sys.stderr)
    return status


def _refuse_unknown(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    # No option before the command takes a value, so the first plain word is the command.
    name = next((word for word in words if not word.startswith("-")), None)
    if name is None or name in _COMMANDS:
        return
    close = difflib.get_close_matches(name.lower(), _COMMANDS, n=2, cutoff=0.5)
    nearest = f"nearest: {', '.join(close)}" if close else f"there are: {', '.join(_COMMANDS)}"
    parser.error(f"there is no command {name!r}; {nearest}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # Without the usage, in which argparse drowns what is wrong.
        self.exit(2, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


def _grammar() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lab",
        description="Watch programs made of several processes: zombies, orphans, hangs, lost "
        "updates, leaked IPC objects.",
        epilog=_EXIT,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lab {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    verbs = {
        name: commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}".rstrip(".") + ".",
            epilog=_EXIT,
            allow_abbrev=False,
        )
        for name, text in _COMMANDS.items()
    }
    for name, verb in verbs.items():
        if name == "watch":
            continue  # it shows what is, and judges nothing
        verb.add_argument(
            "--json", metavar="FILE", help="write JSON too; - is stdout, the text goes to stderr"
        )
    for name in ("run", "check", "exec", "demo"):
        verbs[name].add_argument(
            "--isolation",
            choices=("auto", "namespaces", "snapshots"),
            default="auto",
            help="how a run is kept apart from the machine (default: %(default)s)",
        )
    for name in ("run", "explore", "replay", "compare", "exec"):
        verbs[name].add_argument(
            "--time-limit",
            type=_seconds,
            metavar="S",
            help="seconds after which a run is ended (default: 10, or what the scenario declares)",
        )
    for name, runs in (("run", 5), ("check", 3), ("demo", 2)):
        verbs[name].add_argument(
            "--runs",
            type=_runs,
            default=runs,
            metavar="N",
            help="free runs of each scenario (default: %(default)s)",
        )
    verbs["list"].add_argument(
        "-v", "--verbose", action="store_true", help="with parameters and their defaults"
    )
    verbs["run"].add_argument("ids", nargs="+", metavar="ID", help="FAMILY.NAME, or a FAMILY")
    verbs["show"].add_argument("ids", nargs="+", metavar="ID", help="FAMILY.NAME, or a FAMILY")
    verbs["explore"].add_argument(
        "ids",
        nargs="+",
        metavar="ID",
        help="FAMILY.NAME, or a FAMILY; or MODULE:NAME, a function of yours",
    )
    verbs["compare"].add_argument(
        "bug", metavar="BUG", help="FAMILY.NAME; or the token or the saved schedule of a bug"
    )
    verbs["compare"].add_argument("fix", metavar="FIX", help="FAMILY.NAME")
    for name in ("run", "explore", "compare"):
        verbs[name].add_argument(
            "-p",
            action="append",
            default=[],
            dest="settings",
            metavar="NAME=VALUE",
            help="set a parameter of the scenarios that have it (`lab list -v` shows them)",
        )
    for name, most in (("explore", "runs of each scenario"), ("compare", "runs to find the bug")):
        verbs[name].add_argument(
            "--schedules",
            type=_count,
            default=100,
            metavar="N",
            help=f"{most}, each with another schedule (default: %(default)s)",
        )
    verbs["exec"].add_argument(
        "--explore",
        type=_count,
        metavar="N",
        help="run it N times under control instead, each time with another schedule",
    )
    for name in ("explore", "compare", "exec"):
        _add_search(verbs[name])
    for name in ("explore", "exec"):
        _add_keeping(verbs[name])
    _add_strictness(verbs["replay"])
    verbs["replay"].add_argument(
        "token", metavar="TOKEN|FILE", help="as a report shows it, or a saved schedule"
    )
    verbs["replay"].add_argument(
        "--until",
        type=int,
        metavar="STEP",
        help="show every step up to that one, and not those that conflict alone",
    )
    verbs["check"].add_argument("ids", nargs="*", metavar="ID", help="FAMILY.NAME, or a FAMILY")
    effort = verbs["check"].add_mutually_exclusive_group()
    effort.add_argument(
        "--observed", action="store_true", help="free runs only: where control is refused"
    )
    effort.add_argument(
        "--full",
        action="store_true",
        help="under control 500 schedules for each fix instead of 50, and 20 seeds for each bug",
    )
    effort.add_argument(
        "--save",
        action="store_true",
        help="search each bug anew and keep the simplest schedule that shows it, beside the "
        "scenarios; nothing else is checked",
    )
    _add_jobs(verbs["check"])
    verbs["watch"].add_argument(
        "--pid", type=_count, metavar="PID", help="watch this process and all that descends from it"
    )
    verbs["watch"].add_argument(
        "--once", action="store_true", help="with --pid: one look, after a second, and no more"
    )
    verbs["watch"].add_argument(
        "--every",
        type=_seconds,
        metavar="S",
        help="seconds from picture to picture (default: 0.5 on a terminal, else 5)",
    )
    verbs["watch"].usage = "lab watch [-h] [--every S] (-- COMMAND ARGS... | --pid PID [--once])"
    verbs["exec"].usage = (
        "lab exec [-h] [--json FILE] [--isolation HOW] [--time-limit S]\n"
        "                [--explore N [--strategy NAME] [--seed S] [--depth D] [--preemptions P]\n"
        "                [--max-steps N] [--shrink N] [--jobs N] [--cluster ADDRESS] [--no-save]\n"
        "                [--stop-at-first] [--strict-races]]\n"
        "                -- COMMAND ARGS..."
    )
    return parser


def _add_search(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--strategy",
        default="auto",
        metavar="NAME",
        help="which schedule next: auto, random, pct, pos, bounded or dpor (default: %(default)s)",
    )
    verb.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="the same seed gives the same schedules (default: %(default)s)",
    )
    verb.add_argument(
        "--depth",
        type=_count,
        metavar="D",
        help="of pct: ordering constraints that the bug is thought to need (default: 3)",
    )
    verb.add_argument(
        "--preemptions",
        type=_count_or_none,
        metavar="P",
        help="of bounded: how many a schedule may have (default: 2)",
    )
    verb.add_argument(
        "--max-steps",
        type=_count,
        default=10_000,
        metavar="N",
        help="steps after which a run counts as endless (default: %(default)s)",
    )


def _add_keeping(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--shrink",
        type=_count_or_none,
        default=200,
        metavar="N",
        help="further runs for each finding, to make its schedule simpler; fewer if they are long "
        "(default: %(default)s; 0: none)",
    )
    _add_jobs(verb)
    verb.add_argument(
        "--cluster",
        type=_address,
        metavar="ADDRESS",
        help="let the workers of a dask scheduler make the runs, HOST:PORT; the answer is the same",
    )
    verb.add_argument(
        "--no-save",
        action="store_true",
        help="save no schedule that fails in .lab/schedules (those there are run first anyway)",
    )
    verb.add_argument(
        "--stop-at-first", action="store_true", help="end with the first run that shows a finding"
    )
    _add_strictness(verb)


def _add_jobs(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--jobs",
        type=_count,
        default=1,
        metavar="N",
        help="runs at once, each on a CPU of its own; the answer is the same (default: "
        "%(default)s)",
    )


def _add_strictness(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--strict-races", action="store_true", help="a data race is a finding, and not a note"
    )


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (number := int(text)) > 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no count; give 1 or more")


def _count_or_none(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (number := int(text)) >= 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no count; give 0 or more")


def _runs(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (number := int(text)) > 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number of runs; give 1 or more")


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if host and port.isdigit():
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no address; give HOST:PORT")


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if (number := float(text)) > 0 and math.isfinite(number):
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, for example 2.5")
