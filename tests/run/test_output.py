from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.run.output import KEPT, Output


@pytest.fixture
def output() -> Iterator[Output]:
    made = Output()
    yield made
    made.close()


def test_what_was_printed_is_shown(output: Output) -> None:
    os.write(output.descriptor, "größer\n".encode())

    assert output.text() == "größer\n"


def test_nothing_is_nothing(output: Output) -> None:
    assert output.text() == ""


def test_bytes_that_are_no_utf8_are_escaped(output: Output) -> None:
    os.write(output.descriptor, b"a\xffb")

    assert output.text() == "a\\xffb"


def test_what_is_kept_is_shown_whole_and_one_byte_more_is_counted(output: Output) -> None:
    os.write(output.descriptor, b"x" * KEPT)
    assert output.text() == "x" * KEPT

    os.write(output.descriptor, b"y")
    assert output.text() == "x" * KEPT + "\n[1 more bytes were printed]\n"


def test_the_count_is_exact_and_the_memory_given_back_however_much_it_is(output: Output) -> None:
    piece = b"x" * (1 << 20)
    for _ in range(64):
        os.write(output.descriptor, piece)
        output.bound()

    assert output.text().endswith(f"[{(64 << 20) - KEPT} more bytes were printed]\n")
    assert os.fstat(output.descriptor).st_blocks * 512 <= 2 * KEPT


def test_writers_with_descriptors_of_their_own_append(output: Output) -> None:
    """A shell's >&2 or /dev/stdout opens the same file anew."""
    os.write(output.descriptor, b"one ")
    other = os.open(f"/proc/self/fd/{output.descriptor}", os.O_WRONLY | os.O_APPEND)
    os.write(other, b"two ")
    os.write(output.descriptor, b"three")
    os.close(other)

    assert output.text() == "one two three"


def test_it_can_be_used_again(output: Output) -> None:
    os.write(output.descriptor, b"before")
    output.empty()
    os.write(output.descriptor, b"after")

    assert output.text() == "after"
