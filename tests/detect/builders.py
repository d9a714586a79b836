"""Traces by hand: a run as a test tells it, with only what matters to it spelled out."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

from lab.trace import Blocked, Ending, Process, Trace

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: a busy machine is no reason to fail."""
ROOT = Process("P0", 100, "", "python shop.py", started=0.0, ended=2.0, reaped=2.0, status=0)
"""A root that ended well, two seconds after it began."""
LIVING_ROOT = Process("P0", 100, "", "python shop.py", started=0.0)
"""A root that was there when the run was stopped."""


def child(name: str = "P1", **facts: Any) -> Process:
    """A child of the root, named P1, P2 and so on."""
    number = int(name[1:])
    return Process(
        **{
            "name": name,
            "pid": 100 + number,
            "parent": "P0",
            "command": f"worker {number}",
            "started": 0.1,
            **facts,
        }
    )


def run(*children: Process, root: Process = ROOT, **facts: Any) -> Trace:
    """A run of two seconds that completed, unless the facts say otherwise."""
    return Trace(
        **{
            "scenario": "python shop.py",
            "mode": "observed",
            "ending": Ending.COMPLETED,
            "seconds": 2.0,
            "processes": (root, *children),
            **facts,
        }
    )


def asleep(process: str, **facts: Any) -> Blocked:
    """A process that waits without a time limit for a writer to open a FIFO."""
    return Blocked(
        **{
            "process": process,
            "call": "openat",
            "object": "/tmp/jobs.fifo",
            "waits_for": "a writer to open it",
            "since": 0.2,
            "timed": False,
            **facts,
        }
    )


def waits_for_exit(process: str, *of: str) -> Blocked:
    """A parent in waitpid."""
    return asleep(
        process, call="wait4", object="", waits_for=f"the exit of {' or '.join(of)}", on=of
    )


def stuck(*blocked: Blocked, processes: int, **facts: Any) -> Trace:
    """A run of so many processes beside the root that stood still."""
    return run(
        *(child(f"P{number}") for number in range(1, processes + 1)),
        root=LIVING_ROOT,
        **{"ending": Ending.STUCK, "blocked": blocked, **facts},
    )
