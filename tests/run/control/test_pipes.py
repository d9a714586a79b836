"""Pipes and FIFOs."""

from __future__ import annotations

import errno
import fcntl
import os
import select

import pytest

from lab.trace import Ending
from tests.run.control.controlled import completed, endings, explore, outputs, run


def test_a_fifo_opens_when_both_ends_have_come() -> None:
    def body() -> None:
        os.mkfifo("/tmp/fifo")
        child = os.fork()
        if not child:
            with open("/tmp/fifo", "w") as file:
                file.write("hello")
            os._exit(0)
        with open("/tmp/fifo") as file:
            assert file.read() == "hello"
        os.waitpid(child, 0)
        os.unlink("/tmp/fifo")

    completed(explore(body, 10))


def test_a_fifo_whose_other_end_never_comes_hangs() -> None:
    def body() -> None:
        os.mkfifo("/tmp/fifo")
        os.open("/tmp/fifo", os.O_WRONLY)

    trace = run(body)

    assert trace.ending is Ending.STUCK
    (blocked,) = trace.blocked
    assert (blocked.call, blocked.object) == ("openat", "/tmp/fifo")
    assert blocked.waits_for == "a reader to open it"


def test_fifos_opened_crosswise_deadlock() -> None:
    def body() -> None:
        os.mkfifo("/tmp/a")
        os.mkfifo("/tmp/b")
        child = os.fork()
        if not child:
            os.open("/tmp/b", os.O_RDONLY)
            os.open("/tmp/a", os.O_WRONLY)
            os._exit(0)
        os.open("/tmp/a", os.O_RDONLY)
        os.open("/tmp/b", os.O_WRONLY)
        os.waitpid(child, 0)

    assert endings(explore(body, 4)) == {Ending.STUCK}


def test_a_fifo_without_waiting() -> None:
    def body() -> None:
        os.mkfifo("/tmp/fifo")
        with pytest.raises(OSError, match="No such device") as refused:
            os.open("/tmp/fifo", os.O_WRONLY | os.O_NONBLOCK)
        assert refused.value.errno == errno.ENXIO
        reader = os.open("/tmp/fifo", os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open("/tmp/fifo", os.O_WRONLY)
        os.write(writer, b"x")
        assert os.read(reader, 10) == b"x"

    completed(explore(body, 2))


def test_a_write_above_what_a_pipe_takes_at_once_is_interleaved_with_others() -> None:
    def body() -> None:
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        children = []
        for letter in b"ab":
            child = os.fork()
            if not child:
                os.write(writer, bytes([letter]) * 10_000)
                os._exit(0)
            children.append(child)
        os.close(writer)
        text = b""
        while chunk := os.read(reader, 4096):
            text += chunk
        for child in children:
            os.waitpid(child, 0)
        assert sorted(text) == sorted(b"a" * 10_000 + b"b" * 10_000)
        runs = sum(text[i] != text[i - 1] for i in range(1, len(text)))
        os.write(1, b"torn" if runs > 1 else b"whole")

    traces = explore(body, 8)

    completed(traces)
    assert "torn" in outputs(traces)


def test_many_buffers_written_at_once_wait_for_a_reader_in_the_middle() -> None:
    def body() -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            assert os.writev(writer, [bytes(5000)] * 20) == 100_000
            os._exit(0)
        os.close(writer)
        received = 0
        while data := os.read(reader, 1 << 16):
            received += len(data)
        assert received == 100_000
        os.waitpid(child, 0)

    completed(explore(body, 3, repeats=2, seconds=5))


def test_writes_up_to_pipe_buf_are_whole() -> None:
    def body() -> None:
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        children = []
        for letter in b"ab":
            child = os.fork()
            if not child:
                for _ in range(3):
                    os.write(writer, bytes([letter]) * 3000)
                os._exit(0)
            children.append(child)
        os.close(writer)
        text = b""
        while chunk := os.read(reader, 3000):
            assert len(set(chunk)) == 1
            text += chunk
        for child in children:
            os.waitpid(child, 0)
        assert len(text) == 18_000

    completed(explore(body, 6))


def test_two_writers_are_selected_in_either_order() -> None:
    def body() -> None:
        pipes = [os.pipe() for _ in range(2)]
        children = []
        for number, (_, writer) in enumerate(pipes):
            child = os.fork()
            if not child:
                os.write(writer, b"%d" % number)
                os._exit(0)
            children.append(child)
        readers = [reader for reader, _ in pipes]
        while readers:
            ready, _, _ = select.select(readers, [], [])
            for reader in ready:
                os.write(1, os.read(reader, 1))
                readers.remove(reader)
        for child in children:
            os.waitpid(child, 0)

    traces = explore(body, 12)

    completed(traces)
    assert outputs(traces) == {"01", "10"}


def test_a_reader_that_left_breaks_the_pipe() -> None:
    def body() -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(writer)
            os._exit(0)
        os.close(reader)
        try:
            os.write(writer, b"x")
        except BrokenPipeError:
            os.write(1, b"broken")
        os.waitpid(child, 0)

    traces = explore(body, 8)

    completed(traces)
    assert outputs(traces) == {"", "broken"}


def test_closing_by_duplication_and_by_range_ends_a_pipe_too() -> None:
    def body() -> None:
        reader, writer = os.pipe()
        second = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            os.dup2(1, writer)
            os.closerange(second[1], second[1] + 1)
            while True:
                select.select([], [], [])
        os.close(writer)
        os.close(second[1])
        assert os.read(reader, 1) == b""
        assert os.read(second[0], 1) == b""
        os.kill(child, 9)
        os.waitpid(child, 0)

    completed(explore(body, 5))
