"""What may be asked on the command line."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Mapping
from typing import NoReturn

from lab import __version__
from lab.report.formats import FORMATS

COMMANDS = {
    "demo": "every bug beside its fix: start here",
    "list": "what there is to run",
    "show": "the code of a bug and of its fix, and what makes the difference",
    "run": "run scenarios and tell everything about each",
    "explore": "decide which process moves when, and find the race every time",
    "replay": "show the very run of a token again",
    "compare": "lead a fix along the schedule of its bug, and show where it waits",
    "check": "the CI gate: every bug must show itself, every fix must hold",
    "catalogue": "make the pages about all scenarios, with real reports of each",
    "gallery": "the whole catalogue as pages, to look at or to send to somebody",
    "report": "show what --json saved, or make another form of it",
    "exec": "watch any program: lab exec -- COMMAND ARGS...",
    "watch": "a live view of processes that run now: lab watch -- COMMAND, or --pid PID",
    "doctor": "what this machine allows, and how to get what is missing",
}

_EXIT = "exit status: 0 nothing found, 1 something found, 2 usage, 3 undecided, 130 Ctrl-C"
TAKE_A_PROGRAM = ("exec", "watch")
"""A command line of somebody else's follows them, after `--`."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # Without the usage, in which argparse drowns what is wrong.
        self.exit(2, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


def grammar() -> argparse.ArgumentParser:
    """The parser of what precedes `--`."""
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
        for name, text in COMMANDS.items()
    }
    for name, verb in verbs.items():
        if name == "watch":
            continue  # it shows what is, and judges nothing
        verb.add_argument(
            "--json", metavar="FILE", help="write JSON too; - is stdout, the text goes to stderr"
        )
    _add_forms(verbs)
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
    _add_pages(verbs["catalogue"])
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
    for name, most, default in (
        ("explore", "runs of each scenario", 100),
        ("compare", "runs to find the bug", 100),
        ("gallery", "runs of each bug", 20),
    ):
        verbs[name].add_argument(
            "--schedules",
            type=_count,
            default=default,
            metavar="N",
            help=f"{most}, each with another schedule (default: %(default)s)",
        )
    verbs["gallery"].add_argument("folder", metavar="DIR", help="where to write it")
    verbs["gallery"].add_argument(
        "ids",
        nargs="*",
        default=[],  # without it argparse would ask for one
        metavar="ID",
        help="FAMILY.NAME, or a FAMILY (default: everything)",
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
    _add_baseline(verbs)
    _add_strictness(verbs["replay"])
    verbs["replay"].add_argument(
        "token",
        metavar="TOKEN|FILE",
        help="as a report shows it; or a saved schedule, or a report in JSON",
    )
    verbs["replay"].add_argument(
        "--until",
        type=int,
        metavar="STEP",
        help="show every step up to that one, and not those that conflict alone",
    )
    verbs["report"].add_argument("file", metavar="FILE", help="what --json of a command wrote")
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
        "lab exec [-h] [--json FILE] [--html FILE] [--isolation HOW] [--time-limit S]\n"
        "                [--baseline FILE [--update-baseline]]\n"
        "                [--explore N [--strategy NAME] [--seed S] [--depth D] [--preemptions P]\n"
        "                [--max-steps N] [--shrink N] [--jobs N] [--cluster ADDRESS] [--no-save]\n"
        "                [--stop-at-first] [--strict-races]]\n"
        "                -- COMMAND ARGS..."
    )
    return parser


def _add_pages(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("ids", nargs="*", metavar="FAMILY", help="the pages of these; all by default")
    verb.add_argument(
        "--to",
        default="docs/catalogue",
        metavar="DIR",
        help="the directory that they are in (default: %(default)s)",
    )
    verb.add_argument(
        "--check",
        action="store_true",
        help="write nothing, and exit with 1 if a page is out of date",
    )


def _add_forms(verbs: Mapping[str, argparse.ArgumentParser]) -> None:
    """The same report in other forms, of each command that judges."""
    for name in ("run", "explore", "replay", "compare", "check", "exec", "demo", "report"):
        verbs[name].add_argument(
            "--github",
            action="store_true",
            help="mark what is wrong in a pull request, and add to the summary of the job",
        )
        for form, text in FORMATS.items():
            if form != "json":
                verbs[name].add_argument(f"--{form}", metavar="FILE", help=text)


def _add_baseline(verbs: Mapping[str, argparse.ArgumentParser]) -> None:
    for name in ("check", "explore", "exec", "report"):
        verbs[name].add_argument(
            "--baseline",
            metavar="FILE",
            help="findings that are known: they pass, new ones fail, and what is gone is named",
        )
        verbs[name].add_argument(
            "--update-baseline",
            action="store_true",
            help="with --baseline: let what is found now be what is known",
        )


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
