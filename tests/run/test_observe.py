"""One run from outside: what goes in, what comes out, and what it costs the lab's process."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.detect import findings
from lab.finding import Kind
from lab.run import init as init_module
from lab.run import warden
from lab.run.limits import Isolation, LabError, Limits
from lab.run.observe import observe_body, observe_command, signals_held
from lab.run.root import open_descriptors
from lab.run.worlds import choose
from lab.trace import Ending, Tally, Trace
from tests.forked import in_child
from tests.run.conftest import Sandbox


@pytest.fixture(params=[Isolation.NAMESPACES, Isolation.SNAPSHOTS])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    wanted = Isolation(request.param)
    if wanted is Isolation.NAMESPACES and (refused := choose(Isolation.AUTO).refusal):
        pytest.skip(f"no namespaces here: {refused}")
    return wanted


def command(arguments: list[str], isolation: Isolation, *, to_stderr: bool = False) -> Trace:
    return observe_command(arguments, isolation=isolation, program_output_to_stderr=to_stderr)


# --- What a trace tells --------------------------------------------------------------------


def test_a_trace_tells_what_ran_and_under_which_limits(sandbox: Sandbox) -> None:
    trace = sandbox(lambda: Tally(3, 3), seconds=7.0, processes=5, zombie_after=0.5)

    assert (trace.scenario, trace.mode, trace.ending) == ("program", "observed", Ending.COMPLETED)
    assert (trace.time_limit, trace.process_limit, trace.zombie_limit) == (7.0, 5, 0.5)
    assert (trace.tally, trace.failure, trace.trouble) == (Tally(3, 3), None, "")
    assert trace.isolation == sandbox.isolation
    assert (trace.root.name, trace.root.parent, trace.root.status) == ("P0", "", 0)
    assert (trace.root.pid == 2) == sandbox.private


def test_output_and_errors_come_in_the_order_in_which_they_were_written(sandbox: Sandbox) -> None:
    def body() -> None:
        print("one")  # noqa: T201  # programs print
        os.write(2, b"two\n")
        subprocess.run(["sh", "-c", "echo three; echo four >&2"], check=True)
        sys.stderr.write("five\n")

    assert sandbox(body).output == "one\ntwo\nthree\nfour\nfive\n"


def test_standard_input_is_empty(sandbox: Sandbox) -> None:
    assert sandbox(lambda: Tally(0, len(sys.stdin.read()))).tally == Tally(0, 0)


# --- The program begins as a fresh one -----------------------------------------------------


def test_a_program_has_the_descriptors_that_its_caller_had_and_none_of_the_labs(
    sandbox: Sandbox,
) -> None:
    def observed() -> tuple[set[int], set[int]]:
        os.pipe()
        before = open_descriptors()

        def body() -> None:
            print(*open_descriptors())  # noqa: T201  # programs print

        return set(before), set(map(int, sandbox.observe(body).output.split()))

    before, inside = in_child(observed, user=sandbox.user)

    assert inside == before | {0, 1, 2}


def test_a_program_does_not_inherit_handlers_hooks_or_masks(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGHUP):
            assert signal.getsignal(number) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
        assert sys.excepthook is sys.__excepthook__
        assert threading.excepthook is threading.__excepthook__

    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    before = {
        number: signal.signal(number, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGUSR1)
    }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        assert findings(sandbox(body)) == ()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_program_is_not_called_after_the_lab(sandbox: Sandbox) -> None:
    trace = sandbox(lambda: print(Path("/proc/self/comm").read_text()))  # noqa: T201

    assert "lab-" not in trace.output


def test_a_temporary_directory_goes_with_the_interpreter_as_ever(sandbox: Sandbox) -> None:
    """Its finalizer belongs to the exit functions, which are the program's own."""
    import tempfile

    def body() -> None:
        globals()["kept"] = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)

    assert [thing for thing in sandbox(body).objects if thing.left] == []


def test_exit_functions_run_after_a_failure_too(sandbox: Sandbox) -> None:
    import atexit

    def body() -> None:
        atexit.register(print, "last")
        raise ValueError

    assert sandbox(body).output.endswith("last\n")


# --- The lab's process ---------------------------------------------------------------------


def test_runs_cost_the_lab_no_descriptor_no_process_and_no_memory(isolation: Isolation) -> None:
    def counted() -> tuple[int, int, int]:
        def body() -> None:
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)

        me = psutil.Process()
        for _ in range(5):  # what is imported and cached at first stays
            observe_body("program", body, isolation=isolation)
        gc.collect()
        descriptors, memory = me.num_fds(), me.memory_info().rss
        for _ in range(40):
            observe_body("program", body, isolation=isolation)
        gc.collect()
        children = me.children(recursive=True)
        return me.num_fds() - descriptors, len(children), me.memory_info().rss - memory

    descriptors, children, memory = in_child(counted)

    assert (descriptors, children) == (0, 0)
    assert memory < 40 * 100_000  # a letterbox alone takes ten times as much


@pytest.mark.parametrize("handling", [signal.SIG_IGN, lambda *_: _reap_all()], ids=["ign", "all"])
def test_a_host_that_ignores_or_takes_every_exit_is_served(
    isolation: Isolation, handling: signal.Handlers
) -> None:
    def observed() -> Trace:
        signal.signal(signal.SIGCHLD, handling)
        return observe_body("program", lambda: Tally(1, 1), isolation=isolation)

    assert in_child(observed).tally == Tally(1, 1)


def _reap_all() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def test_a_lab_without_standard_streams_can_run(isolation: Isolation) -> None:
    def observed() -> Trace:
        os.closerange(0, 3)
        return observe_body("program", lambda: print("here"), isolation=isolation)  # noqa: T201

    assert in_child(observed).output == "here\n"


def test_several_threads_may_run_programs_at_once(isolation: Isolation) -> None:
    def observed() -> list[Trace]:
        traces: list[Trace] = []

        def run(number: int) -> None:
            traces.append(
                observe_body("program", lambda: Tally(number, number), isolation=isolation)
            )

        threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return traces

    tallies = {trace.tally for trace in in_child(observed)}

    assert tallies == {Tally(number, number) for number in range(6)}


def test_an_exception_of_the_lab_itself_ends_the_run_and_is_told(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: object) -> Trace:
        raise RuntimeError("the watch is broken")

    monkeypatch.setattr(init_module.Init, "_see_through", broken)

    trace = observe_body("program", lambda: time.sleep(60), isolation=isolation)

    assert trace.ending is Ending.BROKEN
    assert "the watch is broken" in trace.trouble


def test_an_init_that_dies_at_once_is_told(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warden, "serve", lambda *_: os._exit(9))

    trace = observe_body("program", lambda: None, isolation=isolation)

    assert trace.ending is Ending.BROKEN
    assert "its init ended with exit status 9" in trace.trouble


def test_an_init_that_does_not_answer_is_given_up(
    isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def observed() -> tuple[str, int]:
        with pytest.raises(LabError) as refused:
            observe_body("program", lambda: None, isolation=isolation, limits=Limits(seconds=0.2))
        return str(refused.value), len(psutil.Process().children(recursive=True))

    monkeypatch.setattr(warden, "serve", lambda *_: signal.pause())
    monkeypatch.setattr(warden, "PATIENCE", 0.2)
    monkeypatch.setattr("lab.run.observe._PATIENCE", 0.5)

    error, children = in_child(observed)

    assert "did not answer" in error
    assert children == 0


def test_signals_are_held_until_they_are_let_go() -> None:
    def held() -> list[str]:
        events = []
        signal.signal(signal.SIGUSR1, lambda *_: events.append("signal"))
        with signals_held() as let_go:
            signal.raise_signal(signal.SIGUSR1)
            events.append("held")
            let_go()
            events.append("let go")
        with signals_held():
            signal.raise_signal(signal.SIGUSR1)
            events.append("held")
        return events

    assert in_child(held) == ["held", "signal", "let go", "held", "signal"]


# --- Commands ------------------------------------------------------------------------------


@pytest.fixture
def streams() -> Iterator[tuple[int, int]]:
    """Files in the place of standard output and error; each test reads them itself."""
    files = os.memfd_create("out"), os.memfd_create("err")
    yield files
    for file in files:
        os.close(file)


def run_command(
    arguments: list[str], isolation: Isolation, streams: tuple[int, int], *, to_stderr: bool = False
) -> tuple[Trace, str, str]:
    def observed() -> Trace:
        for number, file in enumerate(streams, start=1):
            os.dup2(file, number)
        return command(arguments, isolation, to_stderr=to_stderr)

    trace = in_child(observed)
    out, err = (os.pread(file, 4096, 0).decode() for file in streams)
    return trace, out, err


def test_a_command_has_the_labs_own_streams(isolation: Isolation, streams: tuple[int, int]) -> None:
    trace, out, err = run_command(["sh", "-c", "echo out; echo err >&2"], isolation, streams)

    assert (out, err, trace.output) == ("out\n", "err\n", "")


def test_the_output_of_a_command_can_be_sent_to_standard_error(
    isolation: Isolation, streams: tuple[int, int]
) -> None:
    _, out, err = run_command(["echo", "out"], isolation, streams, to_stderr=True)

    assert (out, err) == ("", "out\n")


def test_a_command_is_told_as_it_was_given_however_short_it_ran(isolation: Isolation) -> None:
    trace = command(["true"], isolation)

    assert (trace.scenario, trace.root.command, trace.root.status) == ("true", "true", 0)


@pytest.mark.parametrize(("code", "status"), [("exit 7", 7), ("kill -9 $$", -9)])
def test_the_status_of_a_command_is_told(isolation: Isolation, code: str, status: int) -> None:
    assert command(["sh", "-c", code], isolation).root.status == status


def test_a_command_that_cannot_be_executed_has_the_status_of_a_shell(
    isolation: Isolation, streams: tuple[int, int]
) -> None:
    trace, _, err = run_command(["/no/such/program"], isolation, streams)

    assert trace.root.status == 126
    assert err == "lab: /no/such/program: No such file or directory\n"


def test_a_command_begins_with_the_signals_of_a_shells_child(
    isolation: Isolation, streams: tuple[int, int]
) -> None:
    _, out, _ = run_command(["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"], isolation, streams)

    # 32 and 33 are the C library's own: where it has used them, its posix_spawn starts children
    # that ignore them, and nobody can undo that through sigaction, which refuses them.
    visible = sum(1 << number - 1 for number in signal.valid_signals())
    assert [int(line.split()[1], 16) & visible for line in out.splitlines()] == [0, 0]


def test_a_segment_that_a_command_leaves_is_reported_and_removed(isolation: Isolation) -> None:
    (finding,) = findings(command(["ipcmk", "-M", "4096"], isolation))

    assert (finding.kind, finding.subject) == (Kind.LEAK, "sysv-shm")
    listed = subprocess.run(["ipcs", "-m"], capture_output=True, text=True, check=True).stdout
    assert finding.object.removeprefix("key ") not in listed


def test_a_stream_that_the_lab_was_started_without_is_empty(isolation: Isolation) -> None:
    def observed() -> Trace:
        os.close(0)
        return command(["sh", "-c", 'test -z "$(cat)"'], isolation)

    assert in_child(observed).root.status == 0
