"""`lab exec`: watch any program, in any language, as valgrind would."""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.commands.baselining import Gate
from lab.commands.output import Output, UsageError
from lab.commands.running import demand_linux, reported
from lab.grammar import grammar
from lab.report.story import Story, exit_status, shown
from lab.run.limits import Isolation, Limits

if TYPE_CHECKING:
    import argparse


def execute(arguments: argparse.Namespace) -> int:
    """Run the command and report on it; the report goes to stderr, stdout is the program's."""
    if not arguments.program:
        raise UsageError(
            "lab exec needs a command after --, for example: lab exec -- sh -c 'ipcmk -M 4096'"
        )
    refuse_unrunnable("exec", arguments.program[0])
    if arguments.explore:
        from lab.commands.explore import of_command

        if arguments.isolation == Isolation.SNAPSHOTS:
            raise UsageError(
                "lab exec: --explore needs namespaces: leave --isolation snapshots away"
            )
        return of_command(arguments.program, arguments)
    _refuse_search(arguments)
    output, gate = Output.asked(arguments, to_stderr=True), Gate(arguments)
    demand_linux()
    from lab.run.observe import observe_command
    from lab.verdict import conclude

    with reported(output, gate) as stories:
        began = time.monotonic()
        trace = observe_command(
            arguments.program,
            limits=Limits(seconds=arguments.time_limit or Limits().seconds),
            isolation=Isolation(arguments.isolation),
            # The document is then all that stdout holds.
            program_output_to_stderr=output.takes_stdout,
        )
        result = conclude(
            [trace],
            scenario=shlex.join(arguments.program),
            seconds=time.monotonic() - began,
        )
        stories.append(gate.told(Story(result)))
        output.say(shown(stories[-1], output.style))
    gate.close(output)
    return exit_status(stories)


_OF_A_SEARCH = (
    "strategy",
    "seed",
    "depth",
    "preemptions",
    "max_steps",
    "shrink",
    "jobs",
    "cluster",
    "no_save",
    "stop_at_first",
    "strict_races",
)


def _refuse_search(arguments: argparse.Namespace) -> None:
    """Raise UsageError for options that would mean nothing: one free run is no search."""
    unasked = grammar().parse_args(["exec"])
    for name in _OF_A_SEARCH:
        if getattr(arguments, name) != getattr(unasked, name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"lab exec: {option} is for runs under control; say how many: --explore N"
            )


def refuse_unrunnable(verb: str, name: str) -> None:
    """Raise UsageError for a command that cannot be run."""
    if shutil.which(name):
        return
    if Path(name).is_file():
        raise UsageError(f"lab {verb}: {name} is not executable; try: chmod +x {shlex.quote(name)}")
    raise UsageError(
        f"lab {verb}: there is no program {name!r} to run; give its path, or a name in PATH"
    )
