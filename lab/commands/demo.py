"""`lab demo`: the front door. Every bug beside its fix, in half a minute."""

from __future__ import annotations

import time
from itertools import groupby
from typing import TYPE_CHECKING

from lab.catalogue import cases, catalogue
from lab.check import Judged, exit_status
from lab.commands.output import Output
from lab.commands.running import Plan, judged, reported
from lab.report.beside import beside, closing, rule
from lab.report.style import Style, wrapped
from lab.report.terminal import count
from lab.run.limits import Isolation

if TYPE_CHECKING:
    import argparse

_NEXT = (
    ("lab run {bug} --runs 20", "all about one of them"),
    ("lab list -v", "what can be set with -p NAME=VALUE"),
    ("lab exec -- sh -c 'ipcmk -M 4096'", "any program, in any language"),
    ("lab check", "all of them as a gate for CI"),
    ("lab doctor", "what this machine allows"),
)


def execute(arguments: argparse.Namespace) -> int:
    """Run and show everything; the exit status is that of `lab check`."""
    output = Output.asked(arguments)
    everything = cases(catalogue())
    isolation = Isolation(arguments.isolation)
    plan = Plan(runs=arguments.runs, isolation=isolation, until_shown=True)
    shown: list[list[Judged]] = []
    began = time.monotonic()
    output.say(_welcome(plan.runs))
    try:
        with reported(output) as stories:
            for family, group in groupby(everything, key=lambda case: case.family):
                output.say(f"\n{rule(family, output.style)}")
                for case in group:
                    shown.append([])
                    try:
                        for each in judged(case.members, plan, output, stories):
                            shown[-1].append(each)
                    finally:
                        # Half a case too: Ctrl-C shows what was found so far.
                        if shown[-1]:
                            output.say(f"\n{beside(shown[-1], output.style)}")
    except KeyboardInterrupt:
        output.say(_farewell(shown, time.monotonic() - began, output.style))
        raise
    output.say(_farewell(shown, time.monotonic() - began, output.style))
    return exit_status(each for case in shown for each in case)


def _welcome(runs: int) -> str:
    return wrapped(
        "Programs of several processes that go wrong, each beside a version that does not. "
        f"The lab runs each {'once' if runs == 1 else f'{runs} times'} in a sandbox, or until the "
        "bug has shown itself, watches its processes and what they leave behind, and tells what "
        "it saw.",
        indent="",
    )


def _farewell(cases: list[list[Judged]], seconds: float, style: Style) -> str:
    cases = [case for case in cases if case]
    if not cases:
        return "\nNothing was run."
    everything = [each for case in cases for each in case]
    bugs = [each for each in everything if each.scenario.role == "bug"]
    fixes = [each for each in everything if each.scenario.role == "fix"]
    total = (
        f"{_as_declared(bugs)} of {count(len(bugs), 'bug')} caught, {_as_declared(fixes)} of "
        f"{len(fixes)} fixes held, in {seconds:.0f} s."
    )
    differences = [wrapped(line) for each in everything for line in each.differences]
    example = bugs[0].scenario.id if bugs else "ID"
    steps = [
        f"  {command.format(bug=example):<42} {style.paint(what, 'dim')}" for command, what in _NEXT
    ]
    return "\n".join(
        (
            f"\n{rule('what was caught', style)}",
            closing(cases, style),
            f"\n{style.paint(total, 'bold')}",
            *differences,
            "\nNext:",
            *steps,
        )
    )


def _as_declared(these: list[Judged]) -> int:
    return sum(not each.differences for each in these)
