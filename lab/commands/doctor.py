"""`lab doctor`: what this machine allows, and how to get what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import __version__
from lab.commands.output import Output
from lab.report.load import FORMAT
from lab.report.style import wrapped

if TYPE_CHECKING:
    import argparse


def execute(arguments: argparse.Namespace) -> int:
    """Print a line for each capability.

    The exit status is 0 whatever is missing: the answer was given, and observing works without.
    """
    output = Output.asked(arguments)
    from lab.run.capabilities import survey

    capabilities = survey()
    width = max((len(capability.name) for capability in capabilities), default=0)
    for capability in capabilities:
        glyph, look = (
            (output.style.good, "green") if capability.available else (output.style.bad, "yellow")
        )
        start = f"  {capability.name:<{width}}  "
        text = wrapped(capability.detail, indent=start, hang=" " * len(start))
        output.say(output.style.paint(glyph, look) + text[1:])
        if not capability.available and capability.remedy:
            arrow = f"{' ' * len(start)}{output.style.arrow} "
            output.say(wrapped(capability.remedy, indent=arrow, hang=" " * len(arrow)))
    output.document(
        {
            "format": FORMAT,
            "lab": __version__,
            "capabilities": [
                {
                    "name": capability.name,
                    "available": capability.available,
                    "detail": capability.detail,
                    "remedy": capability.remedy,
                }
                for capability in capabilities
            ],
        }
    )
    return 0
