"""At which place of a file a read or a write was made, and what that says of lost updates."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

import lab
from lab.detect import findings
from lab.finding import Kind
from lab.run.control import Runner, in_controller
from lab.run.root import Function
from lab.search.dependence import Footprints, dependent
from lab.search.strategy import Pending, Point
from lab.trace import Action, Trace
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, explore, in_children, order, run, steps


def lost(traces: list[Trace]) -> set[str]:
    """The places at which an update was lost."""
    found = [finding for trace in traces for finding in findings(trace)]
    return {finding.object for finding in found if finding.kind is Kind.LOST_UPDATE}


def places(trace: Trace, path: str) -> list[tuple[str, int, int]]:
    """The reads and writes of a file: the call, where, and how many bytes were asked for."""
    made = steps(trace, Action.READ, Action.WRITE, of=f"file:{path}")
    calls = [(e.call.rstrip("0123456789"), e.offset, e.size) for e in made]
    return [each for each in calls if "read" in each[0] or "write" in each[0]]


def test_each_call_is_recorded_where_it_was_made() -> None:
    def body() -> None:
        file = os.open("/tmp/f", os.O_RDWR | os.O_CREAT)
        os.write(file, b"0123456789")
        os.pwrite(file, b"ab", 4)
        os.lseek(file, 2, os.SEEK_SET)
        os.read(file, 3)
        os.readv(file, [bytearray(2), bytearray(1)])
        os.pread(file, 4, 1)
        os.writev(file, [b"x", b"yz"])
        os.preadv(file, [bytearray(2), bytearray(6)], 3)
        end = os.open("/tmp/f", os.O_WRONLY | os.O_APPEND)
        os.write(end, b"end")
        os.lseek(end, 0, os.SEEK_SET)
        os.write(end, b"!")

    trace = run(body)

    completed([trace])
    assert places(trace, "/tmp/f") == [
        ("write", 0, 10),
        ("pwrite", 4, 2),
        ("read", 2, 3),
        ("readv", 5, 3),
        ("pread", 1, 4),
        ("writev", 8, 3),
        ("preadv", 3, 8),
        ("write", 11, 3),
        ("write", 14, 1),
    ]


def test_what_went_through_several_buffers_is_recorded_as_one() -> None:
    def body() -> None:
        file = os.open("/tmp/f", os.O_RDWR | os.O_CREAT)
        os.writev(file, [b"ab", b"", b"cde"])
        os.preadv(file, [bytearray(1), bytearray(9)], 1)

    written, read = (event for event in run(body).events if event.call[:6] in ("writev", "preadv"))

    assert (written.after, read.before) == (b"abcde", b"bcde")


def test_processes_with_a_common_position_write_one_after_the_other() -> None:
    def body() -> None:
        file = os.open("/tmp/f", os.O_RDWR | os.O_CREAT)
        os.write(file, b"start\n")
        os.pread(file, 6, 0)
        in_children(*[lambda: os.write(file, b"line\n")] * 2)

    traces = explore(body, 4, repeats=2)

    completed(traces)
    assert all(
        places(trace, "/tmp/f")[-2:] == [("write", 6, 5), ("write", 11, 5)] for trace in traces
    )
    assert lost(traces) == set()


@pytest.mark.parametrize("several", [False, True], ids=["sendmsg", "sendmmsg"])
def test_a_descriptor_that_was_sent_has_a_common_position(several: bool, compiled: Compile) -> None:
    """Who reads first gets the first byte: the sender of the descriptor or its receiver."""
    program = compiled(_SENDS_A_DESCRIPTOR, *(["-DSEVERAL"] if several else []))

    result = lab.explore(list(program.arguments), strategy="dpor", schedules=60, shrinking=0)

    assert result.exhausted
    assert [finding.kind for finding in result.findings] == [Kind.CRASH]
    assert result.seen_in == (result.runs // 2,)


_SENDS_A_DESCRIPTOR = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    int ends[2], file = open("/tmp/f", O_RDWR | O_CREAT, 0600);
    write(file, "ab", 2);
    close(file);  // or both had it since the fork
    char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct mmsghdr messages[1] = {0};
    struct msghdr *message = &messages[0].msg_hdr;
    message->msg_iov = &part;
    message->msg_iovlen = 1;
    message->msg_control = control;
    message->msg_controllen = sizeof control;
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    if (!fork()) {
        recvmsg(ends[1], message, 0);
        read(*(int *)CMSG_DATA(CMSG_FIRSTHDR(message)), &byte, 1);
        _exit(byte == 'b' ? 0 : 1);
    }
    int own = open("/tmp/f", O_RDONLY);
    struct cmsghdr *rights = CMSG_FIRSTHDR(message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof own);
    memcpy(CMSG_DATA(rights), &own, sizeof own);
#ifdef SEVERAL
    sendmmsg(ends[0], messages, 1, 0);
#else
    sendmsg(ends[0], message, 0);
#endif
    read(own, &byte, 1);
    int status;
    wait(&status);
    unlink("/tmp/f");
    return WEXITSTATUS(status);
}
"""


def log(line: bytes) -> None:
    file = os.open("/tmp/log", os.O_RDWR | os.O_APPEND)
    os.read(file, 100)
    os.write(file, line)


def test_to_append_to_what_was_read_loses_nothing() -> None:
    def body() -> None:
        Path("/tmp/log").write_text("start\n")
        in_children(lambda: log(b"one\n"), lambda: log(b"two\n"))

    traces = explore(body, 6, repeats=2)

    completed(traces)
    assert lost(traces) == set()


def test_fields_of_one_file_that_do_not_overlap_are_kept() -> None:
    def add(place: int) -> None:
        file = os.open("/tmp/table", os.O_RDWR)
        value = os.pread(file, 8, place)
        os.pwrite(file, value[1:] + b"x", place)

    def body() -> None:
        Path("/tmp/table").write_bytes(bytes(16))
        in_children(lambda: add(0), lambda: add(8))

    traces = explore(body, 6, repeats=2)

    completed(traces)
    assert lost(traces) == set()


def visit(lock: int) -> None:
    with open("/tmp/lock", "w") as guard:
        fcntl.flock(guard, lock)
        seen = json.loads(Path("/tmp/visits.json").read_text())
        seen["visits"] += 1
        Path("/tmp/visits.json").write_text(json.dumps(seen))


def visited(lock: int) -> Trace:
    """Two visits; whoever can do something else than write the file goes first."""

    def body() -> None:
        Path("/tmp/visits.json").write_text('{"visits": 0}')
        in_children(*[lambda: visit(lock)] * 2)

    def choose(point: Point) -> int:
        writes = [p.object == "file:/tmp/visits.json" and p.action in _MAKES for p in point.enabled]
        return point.default if all(writes) else writes.index(False)

    return run(body, lambda: choose)


_MAKES = (Action.WRITE, Action.CREATE)


def test_a_file_that_two_read_and_write_anew_loses_an_update() -> None:
    assert lost([visited(fcntl.LOCK_UN)]) == {"file:/tmp/visits.json"}


def test_a_file_that_is_written_anew_under_a_lock_keeps_every_update() -> None:
    trace = visited(fcntl.LOCK_EX)

    completed([trace])
    assert lost([trace]) == set()


def test_two_who_are_about_to_append_are_dependent_though_their_places_differ_by_now() -> None:
    def body() -> None:
        files = [os.open("/dev/shm/log", os.O_RDWR | os.O_CREAT | os.O_APPEND) for _ in range(2)]
        in_children(lambda: os.write(files[0], b"one"), lambda: os.write(files[1], b"two"))
        os.unlink("/dev/shm/log")

    def work(runner: Runner, _: object) -> list[tuple[Pending, ...]]:
        seen = []
        parent = order("P0")()

        def choose(point: Point) -> int:
            seen.append(point.enabled)
            actions = [pending.action for pending in point.enabled]
            return actions.index(Action.START) if Action.START in actions else parent(point)

        runner.run(choose, max_steps=100)
        return seen

    points = in_controller(work, Function("body", body))

    writes = [
        [p for p in point if p.object == "posix-shm:/log" and p.action == "write"]
        for point in points
    ]
    one, other = next(pair for pair in writes if len(pair) == 2)
    assert dependent(Footprints().of(one), Footprints().of(other))


def at_the_end(line: bytes, flags: int = 0) -> None:
    file = os.open("/tmp/log", os.O_RDWR | flags)
    os.lseek(file, 0, os.SEEK_END)
    os.write(file, line)


def test_two_who_go_to_the_end_and_write_there_lose_a_line() -> None:
    def body() -> None:
        Path("/tmp/log").write_text("start\n")
        in_children(lambda: at_the_end(b"one\n"), lambda: at_the_end(b"two\n"))

    traces = explore(body, 10, repeats=2)

    completed(traces)
    assert lost(traces) == {"file:/tmp/log"}


def test_two_who_append_lose_none_though_they_went_to_the_end_before() -> None:
    def body() -> None:
        Path("/tmp/log").write_text("start\n")
        in_children(*[lambda: at_the_end(b"line\n", os.O_APPEND)] * 2)

    traces = explore(body, 10, repeats=2)

    completed(traces)
    assert lost(traces) == set()


def test_two_who_find_a_file_empty_and_write_the_first_content_lose_an_update() -> None:
    def count() -> None:
        with open("/tmp/visits", "r+") as file:
            number = int(file.read() or 0)
            file.seek(0)
            file.write(str(number + 1))

    def body() -> None:
        Path("/tmp/visits").touch()
        in_children(count, count)

    traces = explore(body, 10, repeats=2)

    completed(traces)
    assert lost(traces) == {"file:/tmp/visits"}


def test_who_opens_to_append_before_it_holds_the_lock_and_cuts_loses_nothing() -> None:
    def serve() -> None:
        with open("/tmp/server.pid", "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(str(os.getpid()))

    traces = explore(lambda: in_children(serve, serve), 10, repeats=2)

    completed(traces)
    assert lost(traces) == set()
