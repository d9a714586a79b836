"""Files and their locks."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import lab
from lab.detect import findings
from lab.finding import Kind
from lab.run.root import Command
from lab.trace import Action, Ending, Tally
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, endings, explore, order, outputs, run, steps


def add_one(path: str) -> None:
    with open(path, "r+") as file:
        number = int(file.read())
        file.seek(0)
        file.write(str(number + 1))


def counted(lock: object, path: str = "/tmp/count") -> Tally:
    Path(path).write_text("0")
    children = []
    for _ in range(2):
        child = os.fork()
        if not child:
            with open("/tmp/lock", "w") as file:
                lock(file)  # type: ignore[operator]
                add_one(path)
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return Tally(2, int(Path(path).read_text()))


def test_a_counter_in_a_file_loses_updates() -> None:
    traces = explore(lambda: counted(lambda _: None), 12)

    completed(traces)
    assert {trace.tally for trace in traces} == {Tally(2, 1), Tally(2, 2)}


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_a_lock_on_a_file_keeps_every_update(lock: object) -> None:
    traces = explore(lambda: counted(lambda file: lock(file, fcntl.LOCK_EX)), 12)  # type: ignore[operator]

    completed(traces)
    assert {trace.tally for trace in traces} == {Tally(2, 2)}


def test_locks_of_an_open_file_description_exclude_each_other(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int count = open("/tmp/count", O_CREAT | O_RDWR, 0600), number = 0;
        for (int child = 0; child < 2; child++)
            if (!fork()) {
                int own = open("/tmp/lock", O_CREAT | O_RDWR, 0600);
                fcntl(own, F_OFD_SETLKW, &lock);
                (void)!pread(count, &number, sizeof number, 0);
                number++;
                (void)!pwrite(count, &number, sizeof number, 0);
                _exit(0);
            }
        while (wait(0) > 0);
        (void)!pread(count, &number, sizeof number, 0);
        printf("%d\n", number);
        return 0;
    }
    """
    traces = explore(compiled(source), 12)

    completed(traces)
    assert outputs(traces) == {"2\n"}


def test_a_lock_that_is_only_tried_fails_at_once() -> None:
    def body() -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            file = os.open("/tmp/lock", os.O_CREAT | os.O_RDWR)
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(writer, b"x")
            os.read(os.open("/tmp/never", os.O_CREAT | os.O_RDONLY), 1)
            os._exit(0)
        os.read(reader, 1)
        file = os.open("/tmp/lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(1, b"free")
        except BlockingIOError:
            os.write(1, b"held")
        os.waitpid(child, 0)
        fcntl.flock(file, fcntl.LOCK_EX)

    traces = explore(body, 8)

    completed(traces)
    assert outputs(traces) == {"free", "held"}


def test_two_locks_taken_crosswise_deadlock_and_the_holders_are_named() -> None:
    def body() -> None:
        children = []
        for names in ("ab", "ba"):
            child = os.fork()
            if not child:
                files = [os.open(f"/tmp/{name}", os.O_CREAT | os.O_RDWR) for name in names]
                for file in files:
                    fcntl.flock(file, fcntl.LOCK_EX)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)

    traces = explore(body, 20)

    assert endings(traces) == {Ending.COMPLETED, Ending.STUCK}
    stuck = next(trace for trace in traces if trace.ending is Ending.STUCK)
    waits = {b.process: (b.call, b.object, b.on) for b in stuck.blocked}
    assert waits["P1"] == ("flock", "/tmp/b", ("P2",))
    assert waits["P2"] == ("flock", "/tmp/a", ("P1",))
    assert Kind.DEADLOCK in {finding.kind for finding in findings(stuck)}


def test_the_kernel_refuses_a_deadlock_of_record_locks() -> None:
    def body() -> None:
        children = []
        for names in ("ab", "ba"):
            child = os.fork()
            if not child:
                files = [os.open(f"/tmp/{name}", os.O_CREAT | os.O_RDWR) for name in names]
                try:
                    for file in files:
                        fcntl.lockf(file, fcntl.LOCK_EX)
                except OSError as refused:
                    os._exit(refused.errno or 1)
                os._exit(0)
            children.append(child)
        statuses = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
        os.write(1, repr(sorted(statuses)).encode())

    traces = explore(body, 20)

    # F_SETLK knows no deadlock: that waiter never waits in the kernel, so both of them wait on.
    assert endings(traces) == {Ending.COMPLETED, Ending.STUCK}
    assert "[0]" in outputs(traces)


def test_a_lock_ends_with_its_holder() -> None:
    def body() -> None:
        child = os.fork()
        if not child:
            file = os.open("/tmp/lock", os.O_CREAT | os.O_RDWR)
            fcntl.flock(file, fcntl.LOCK_EX)
            os._exit(0)
        file = os.open("/tmp/lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_EX)
        os.close(file)
        os.waitpid(child, 0)

    completed(explore(body, 8))


def test_shared_locks_share() -> None:
    def body() -> None:
        file = os.open("/tmp/lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_SH)
        child = os.fork()
        if not child:
            own = os.open("/tmp/lock", os.O_RDWR)
            fcntl.flock(own, fcntl.LOCK_SH)
            os._exit(0)
        os.waitpid(child, 0)

    completed(explore(body, 4))


def test_check_then_create_races_and_exclusive_creation_does_not() -> None:
    def body(flags: int) -> None:
        children = []
        for _ in range(2):
            child = os.fork()
            if not child:
                if not flags and os.path.exists("/tmp/owner"):
                    os._exit(0)
                try:
                    os.close(os.open("/tmp/owner", os.O_CREAT | flags))
                except FileExistsError:
                    os._exit(0)
                os._exit(1)
            children.append(child)
        owners = sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        os.write(1, b"%d" % owners)

    assert outputs(explore(lambda: body(0), 12)) == {"1", "2"}
    assert outputs(explore(lambda: body(os.O_EXCL), 12)) == {"1"}


def test_renaming_replaces_at_once() -> None:
    def body() -> None:
        Path("/tmp/config").write_text("old")
        child = os.fork()
        if not child:
            Path("/tmp/config.new").write_text("new")
            os.replace("/tmp/config.new", "/tmp/config")
            os._exit(0)
        os.write(1, Path("/tmp/config").read_bytes())
        os.waitpid(child, 0)

    traces = [*explore(body, 10), run(body, order("P1", "P0"))]

    completed(traces)
    assert outputs(traces) == {"old", "new"}


def test_a_file_in_place_is_seen_half_written() -> None:
    def body() -> None:
        Path("/tmp/config").write_text("old")
        child = os.fork()
        if not child:
            Path("/tmp/config").write_text("new")
            os._exit(0)
        os.write(1, Path("/tmp/config").read_bytes() or b"nothing")
        os.waitpid(child, 0)

    traces = [*explore(body, 15), run(body, order("P1", "P0"))]

    completed(traces)
    assert outputs(traces) == {"old", "new", "nothing"}


def test_a_file_that_vanishes_between_the_look_and_the_use() -> None:
    def body() -> None:
        Path("/tmp/victim").touch()
        child = os.fork()
        if not child:
            os.unlink("/tmp/victim")
            os._exit(0)
        try:
            if os.path.exists("/tmp/victim"):
                os.stat("/tmp/victim")
        except FileNotFoundError:
            os.write(1, b"gone")
        os.waitpid(child, 0)

    traces = explore(body, 10)

    completed(traces)
    assert outputs(traces) == {"", "gone"}


def test_two_readers_of_one_open_file_share_its_position() -> None:
    def body() -> None:
        Path("/tmp/lines").write_text("ab")
        file = os.open("/tmp/lines", os.O_RDONLY)
        children = []
        for _ in range(2):
            child = os.fork()
            if not child:
                os.write(1, os.read(file, 1))
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)

    traces = explore(body, 6)

    completed(traces)
    reads = [e for e in steps(traces[0], Action.READ, of="file:/tmp/lines") if e.call == "read"]
    assert [read.also for read in reads] == [("position:file:/tmp/lines",)] * 2


def test_data_moved_inside_the_kernel_is_seen(compiled: Compile) -> None:
    source = r"""
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/sendfile.h>
    #include <sys/uio.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        int first[2], second[2], third[2];
        char buffer[100] = "";
        (void)!pipe(first); (void)!pipe(second); (void)!pipe(third);
        int file = open("/tmp/source", O_CREAT | O_RDWR, 0600);
        int copy = open("/tmp/copy", O_CREAT | O_RDWR, 0600);
        (void)!write(file, "hello", 5);
        if (!fork()) {
            splice(first[0], 0, second[1], 0, 100, 0);
            tee(second[0], third[1], 100, 0);
            struct iovec vector = {"!", 1};
            vmsplice(third[1], &vector, 1, 0);
            _exit(0);
        }
        off_t start = 0, other = 0;
        sendfile(first[1], file, &start, 5);
        copy_file_range(file, &other, copy, 0, 5, 0);
        wait(0);
        (void)!read(third[0], buffer, 100);
        (void)!pread(copy, buffer + 50, 5, 0);
        printf("%s %s\n", buffer, buffer + 50);
        return 0;
    }
    """
    traces = explore(compiled(source), 6)

    completed(traces)
    assert outputs(traces) == {"hello! hello\n"}
    (splice,) = [event for event in traces[0].events if event.call == "splice"]
    assert {splice.object, *splice.also} == {"pipe:1", "pipe:2"}


def test_closing_every_descriptor_hurts_nobody() -> None:
    def body() -> Tally:
        child = os.fork()
        os.closerange(0, 1000)
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        return Tally(1, 1)

    traces = explore(body, 4)

    completed(traces)
    assert traces[0].tally == Tally(1, 1)


def test_what_a_run_leaves_is_told_and_is_gone_in_the_next() -> None:
    def body() -> None:
        assert not os.path.exists("/tmp/left")
        Path("/tmp/left").touch()
        os.mkfifo("/tmp/fifo")
        os.mkdir("/tmp/folder")
        Path("/tmp/folder/inner").touch(mode=stat.S_IRUSR)

    traces = explore(body, 2)

    completed(traces)
    assert {("temp-file", "/tmp/left"), ("fifo", "/tmp/fifo")} <= {
        (thing.type, thing.name) for thing in traces[0].objects
    }


def test_a_shell_script_races_with_itself() -> None:
    script = """
    echo 0 > /tmp/n
    bump() { read n < /tmp/n; echo $((n + 1)) > /tmp/n; }
    bump & bump & wait
    cat /tmp/n
    """
    traces = explore(Command(("sh", "-c", script)), 12)

    assert endings(traces) == {Ending.COMPLETED}
    assert outputs(traces) >= {"1\n", "2\n"}


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_file_is_the_same_by_whichever_name_it_is_used(link: Callable[[str, str], None]) -> None:
    """The size that one sees by a second name depends on when the other writes by the first."""

    def body() -> Tally:
        Path("/tmp/first").write_text("")
        link("/tmp/first", "/tmp/second")
        child = os.fork()
        if not child:
            file = os.open("/tmp/first", os.O_WRONLY)
            os.write(file, b"1")
            os._exit(0)
        size = os.stat("/tmp/second").st_size
        os.waitpid(child, 0)
        os.unlink("/tmp/second")
        os.unlink("/tmp/first")
        return Tally(0, size, "bytes seen")

    result = lab.explore(body, strategy="dpor", schedules=60, shrinking=0)
    assert {outcome.result for outcome in result.outcomes} == {
        "0 of 0 bytes seen",
        "1 of 0 bytes seen",
    }


def test_a_link_meets_the_end_of_the_name_that_it_is_made_of() -> None:
    def body() -> Tally:
        Path("/tmp/first").write_text("")
        child = os.fork()
        if not child:
            os.unlink("/tmp/first")
            os._exit(0)
        try:
            os.link("/tmp/first", "/tmp/second")
        except FileNotFoundError:
            linked = 0
        else:
            linked = 1
            os.unlink("/tmp/second")
        os.waitpid(child, 0)
        return Tally(0, linked, "links")

    result = lab.explore(body, strategy="dpor", schedules=60, shrinking=0)
    assert {outcome.result for outcome in result.outcomes} == {"0 of 0 links", "1 of 0 links"}
