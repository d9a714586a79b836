"""A test harness and race-condition lab for programs made of several processes."""

from lab.finding import Finding, Kind, Result, Verdict
from lab.scenario import scenario
from lab.trace import Messages, Tally, Trace

__version__ = "0.1.0"

__all__ = ["Finding", "Kind", "Messages", "Result", "Tally", "Trace", "Verdict", "scenario"]
