"""A start that is the same every time: for commands whose runs are to be repeated to the step.

Every root of a controlled run is a fork of this process, and inherits its hash seed and the
addresses of everything that it has loaded: with others, sets have another order and so may a
program. The hash seed is fixed before the interpreter begins and addresses when the program is
executed, so the command line executes itself once more.
"""

from __future__ import annotations

import os
import signal
import sys

_AGAIN = "LAB_STARTED_AGAIN"
"""Set in the second start, so that where the kernel refuses fixed addresses there is no third."""


def start_again() -> None:
    """Execute this very command line once more, with a fixed hash seed and without ASLR.

    Ctrl-C is held back from here until the second start gets here: an interpreter that is just
    beginning would answer it with a traceback.

    Returns if it has been, or where that cannot be: on other systems, or if this is no command
    line of its own. In a container that keeps addresses random (the default of some), runs repeat
    all the same but for programs that depend on addresses.
    """
    if os.environ.pop(_AGAIN, None):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return
    if sys.platform != "linux" or not sys.executable:
        return
    from lab.kernel import libc

    try:
        libc.fix_addresses()
    except OSError:
        if os.environ.get("PYTHONHASHSEED") == "0":
            return  # nothing could be gained
    os.environ.update({_AGAIN: "1", "PYTHONHASHSEED": "0"})
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
