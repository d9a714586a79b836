"""Real starts of the command line: what a second one finds is what every run inherits."""

import os
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
