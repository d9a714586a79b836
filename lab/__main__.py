"""The way in: `lab`, and `python -m lab`."""

import importlib
import signal
import sys


def main() -> int:
    """Run the command line and return its exit status, see `lab.cli`."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:
        # Until somebody is there to answer Ctrl-C, it ends the lab as it would any program,
        # without a word. Python's own answer is a traceback through modules half imported.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    cli = importlib.import_module("lab.cli")
    signal.signal(signal.SIGINT, heard)
    status: int = cli.main()
    return status


if __name__ == "__main__":
    sys.exit(main())
