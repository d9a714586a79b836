"""Names that stay the same from run to run, so that one defect is counted as one.

A finding's identity carries its object's name, and some names are drawn anew in every run:
`multiprocessing` makes "/mp-k3x0_2ab", `shared_memory` makes "/psm_1f00ba44", `tempfile` makes
"/tmp/tmpab12cd34", and the kernel numbers pipes and private System V objects. Only these known
patterns are replaced. Blotting out every digit would make "/jobs1" and "/jobs2" one object, and
that hides a defect, while a name that is not recognised merely lists it once for each run. For
the same reason a PID in a name stays: in a PID namespace it repeats anyway.
"""

from __future__ import annotations

import re

_DRAWN = (
    # Python's tempfile draws 8 of these characters; shared_memory 8 hexadecimal digits.
    (re.compile(r"(?<![a-z0-9])(psm_|pymp-|mp-|listener-|tmp)[a-z0-9_]{8}(?![a-z0-9_])"), r"\1*"),
    # mkdtemp with the lab's own prefix, as TMPDIR of a run without namespaces. Only as a
    # directory: "/lab-messages" is the name of somebody's queue.
    (re.compile(r"(?<=/)(lab-)[a-z0-9_]{8}(?=/)"), r"\1*"),
    # mktemp(1).
    (re.compile(r"(?<![a-z0-9])(tmp\.)[A-Za-z0-9]{10}(?![A-Za-z0-9])"), r"\1*"),
    # glibc, for a semaphore whose own name is gone.
    (re.compile(r"(?<=/)[A-Za-z0-9]{6}(?= \(unlinked\))"), "*"),
    # The kernel's inode numbers and identifiers: "pipe:[4711]", "private, id 32769".
    (re.compile(r"(?<=:)\[\d+\]"), "[*]"),
    (re.compile(r"(?<=\bid )\d+"), "*"),
)


def stable_name(name: str) -> str:
    """The name with what is drawn anew in every run replaced by "*"."""
    for pattern, replacement in _DRAWN:
        name = pattern.sub(replacement, name)
    return name
