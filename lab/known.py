"""A finding, as far as it stays the same: by this it is known again.

What stays when the program is edited, run elsewhere or searched in another order: the program's
name, the kind, and the object as its users call it. Line numbers, PIDs, seeds, addresses and the
place of the checkout are left out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lab.detect.naming import stable_name
from lab.finding import Finding, Kind

_LEFT_OUT = (
    # Where in a file: "/home/me/project/test_it.py:31".
    (re.compile(r"(?:[^\s:]*/)?([^\s:/]+\.\w+):\d+"), r"\1"),
    # An address. A key of System V, "0x0000004c", is a name; it has no more than 8 digits.
    (re.compile(r"0x[0-9a-f]{9,}"), "0x*"),
    # A PID, or another number that is drawn; of less than 3 digits, it is told by the program.
    (re.compile(r"(?<!\d)(?<!0x)\d{3,}"), "*"),
)


@dataclass(frozen=True, order=True)
class Known:
    """A finding, as far as it stays the same."""

    program: str
    kind: Kind
    subject: str
    object: str
    fingerprint: str

    @classmethod
    def of(cls, program: str, finding: Finding) -> Known:
        """The finding of a program that has this name."""
        return cls(
            program,
            finding.kind,
            finding.subject,
            finding.object,
            fingerprint(program, finding),
        )

    def __str__(self) -> str:
        """As a line names it."""
        what = f"{self.kind} {self.subject}".strip()
        return f"{what} of {self.object} in {self.program}" if self.object else what


def fingerprint(program: str, finding: Finding) -> str:
    """Sixteen hexadecimal digits that stay the same as long as the defect does."""
    parts = (_steady(program), finding.kind, finding.subject, _steady(finding.object))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _steady(name: str) -> str:
    name = stable_name(name.replace(f"{Path.cwd()}/", ""))
    for pattern, replacement in _LEFT_OUT:
        name = pattern.sub(replacement, name)
    return name
