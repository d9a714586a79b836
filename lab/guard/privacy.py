"""Tables of its own for a process that runs tests: what appears there, its tests made.

Only the thread that calls, and all that it starts from then on, moves: that is where the tests run.
Temporary files stay common, for workers talk through them.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def step_aside(*paths: str) -> bool:
    """Take IPC tables and shared memory that no other process has; False where that is refused.

    Refused as well where shared memory is a place for files: if the session's paths lie in there.
    """
    from lab.kernel.ipc_namespace import SHM, NamespaceError, own_tables

    used = (tempfile.gettempdir(), os.getcwd(), *paths)
    if any(Path(os.path.realpath(path)).is_relative_to(SHM) for path in used):
        return False
    try:
        own_tables()
    except NamespaceError:
        return False
    return True
