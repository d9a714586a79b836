"""Real starts of the command line: what a second one finds is what every run inherits."""

import os
import signal
import subprocess
import sys

PROGRAM = """
import sys, ctypes
from lab.pristine import start_again
start_again()
print(sys.flags.hash_randomization, hash("lab"), hex(id(object())), sys.argv[1:])
"""


def start(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "a b", "--c"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_every_start_has_the_same_hashes_and_addresses() -> None:
    assert len({start() for _ in range(5)}) == 1


def test_arguments_survive_the_second_start() -> None:
    assert start().endswith("['a b', '--c']\n")


def test_a_hash_seed_of_the_users_does_not_count() -> None:
    assert start(PYTHONHASHSEED="7") == start()


def test_the_mark_of_the_second_start_is_not_inherited_by_programs() -> None:
    program = PROGRAM + "import os; print('LAB_STARTED_AGAIN' in os.environ)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("False\n")


def ends(program: str) -> int:
    """The status with which a program ends that says nothing."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        # Where the tests run in a shell's background it is ignored, and so it is by their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    return done.returncode


def test_ctrl_c_between_the_starts_waits_for_somebody_to_answer_it() -> None:
    """An interpreter that is just beginning would answer it with a traceback."""
    held = """
import os, signal, sys
os.execv = lambda *_: sys.exit(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
sys.argv = ["lab", "replay", "1"]
import lab.cli
lab.cli.main()
"""
    heard = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
os.kill(os.getpid(), signal.SIGINT)
os.environ["LAB_STARTED_AGAIN"] = "1"
sys.argv = ["lab", "replay", "1"]
import lab.cli
sys.exit(lab.cli.main())
"""
    assert ends(held) == 1
    assert ends(heard) == 130


def test_ctrl_c_while_the_lab_is_loaded_ends_it_without_a_word() -> None:
    program = """
import importlib, os, signal, lab.__main__
importlib.import_module = lambda _name: os.kill(os.getpid(), signal.SIGINT)
lab.__main__.main()
"""
    assert ends(program) == -signal.SIGINT
