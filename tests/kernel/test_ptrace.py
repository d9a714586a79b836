from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from lab.kernel import ptrace
from lab.kernel.ptrace import Stop, StopKind


def fork(body: Callable[[], object]) -> int:
    """A child that runs a body once it is told to."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        os.read(reader, 1)
        try:
            body()
        finally:
            os._exit(3)
    os.close(reader)
    CHILDREN[child] = writer
    return child


CHILDREN: dict[int, int] = {}
pytestmark = pytest.mark.usefixtures("control")


@pytest.fixture(autouse=True)
def _nobody_stays() -> Iterator[None]:
    yield
    for child, writer in CHILDREN.items():
        os.close(writer)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.WIFSTOPPED(os.waitpid(child, ptrace.WALL)[1]):
                ptrace.resume(child)
    CHILDREN.clear()


def seized(body: Callable[[], object]) -> int:
    child = fork(body)
    ptrace.seize(child)
    os.write(CHILDREN[child], b"x")
    return child


def wait(child: int) -> Stop:
    _, status = os.waitpid(child, ptrace.WALL)
    return ptrace.decode(child, status)


def test_an_exit_and_a_death_by_signal_are_told_apart() -> None:
    assert wait(seized(lambda: None)) == Stop(StopKind.EXITED, 3)
    child = seized(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert wait(child) == Stop(StopKind.KILLED, signal.SIGKILL)


def test_a_signal_stops_before_its_delivery_and_may_be_kept_back() -> None:
    child = seized(lambda: os.kill(os.getpid(), signal.SIGTERM))

    assert wait(child) == Stop(StopKind.SIGNAL, signal.SIGTERM)
    ptrace.resume(child)
    assert wait(child) == Stop(StopKind.EXITED, 3)


def test_a_signal_is_delivered_with_what_the_tracer_says_comes_with_it() -> None:
    def body() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        os.kill(os.getpid(), signal.SIGUSR1)
        os._exit(signal.sigwaitinfo({signal.SIGUSR2}).si_status & 0xFF)

    child = seized(body)

    assert wait(child) == Stop(StopKind.SIGNAL, signal.SIGUSR1)
    info = ptrace.signal_info(child)
    assert int.from_bytes(info[:4], "little") == signal.SIGUSR1
    assert int.from_bytes(info[16:20], "little") == child
    ptrace.resume(child, ptrace.CONT, signal.SIGKILL)
    assert wait(child) == Stop(StopKind.KILLED, signal.SIGKILL)


def test_a_group_stop_is_no_delivery_and_ends_with_sigcont() -> None:
    child = seized(lambda: os.kill(os.getpid(), signal.SIGSTOP))

    assert wait(child) == Stop(StopKind.SIGNAL, signal.SIGSTOP)
    ptrace.resume(child, ptrace.CONT, signal.SIGSTOP)
    assert wait(child) == Stop(StopKind.GROUP_STOP, signal.SIGSTOP)
    ptrace.listen(child)
    os.kill(child, signal.SIGCONT)
    assert wait(child) == Stop(StopKind.NEWBORN)
    ptrace.resume(child)
    assert wait(child) == Stop(StopKind.SIGNAL, signal.SIGCONT)
    ptrace.resume(child)
    assert wait(child) == Stop(StopKind.EXITED, 3)


def test_a_fork_names_its_child_which_is_traced_from_its_first_instruction() -> None:
    def body() -> None:
        if not os.fork():
            os._exit(5)
        os.wait()

    child = seized(body)

    stop = wait(child)
    assert stop.kind is StopKind.FORKED
    assert wait(stop.value) == Stop(StopKind.NEWBORN)
    ptrace.resume(stop.value)
    assert wait(stop.value) == Stop(StopKind.EXITED, 5)
    ptrace.resume(child)
    assert wait(child).value == signal.SIGCHLD
    ptrace.resume(child)
    assert wait(child) == Stop(StopKind.EXITED, 3)


def test_another_program_stops_when_it_has_taken_over() -> None:
    child = seized(lambda: os.execv("/bin/true", ["true"]))

    assert wait(child) == Stop(StopKind.EXECUTED)
    ptrace.resume(child)
    assert wait(child) == Stop(StopKind.EXITED, 0)


def test_the_end_of_a_system_call_is_told_with_its_result() -> None:
    def body() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        os._exit(0 if os.getppid() == 77 else 1)

    child = seized(body)
    assert wait(child) == Stop(StopKind.SIGNAL, signal.SIGUSR1)

    answered = False
    ptrace.resume(child, ptrace.SYSCALL)
    while (stop := wait(child)).kind is StopKind.CALL_DONE:
        regs = ptrace.registers(child)
        if regs.call == "getppid" and not answered:
            answered = True
            regs.skip_call(77)
            ptrace.set_registers(child, regs)
        ptrace.resume(child, ptrace.SYSCALL)

    assert stop == Stop(StopKind.EXITED, 0)


def test_signals_are_blocked_and_let_in_from_outside() -> None:
    def body() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)

    child = seized(body)
    assert wait(child) == Stop(StopKind.SIGNAL, signal.SIGUSR1)
    before = ptrace.blocked_signals(child)

    ptrace.block_signals(child, before | 1 << signal.SIGTERM - 1)
    ptrace.resume(child)

    assert wait(child) == Stop(StopKind.EXITED, 3)


def test_the_address_of_a_fault_is_told() -> None:
    import ctypes

    child = seized(lambda: ctypes.string_at(0x1238))

    assert wait(child) == Stop(StopKind.SIGNAL, signal.SIGSEGV)
    assert ptrace.fault_address(child) == 0x1238


def test_what_is_refused_is_an_error_that_names_the_request() -> None:
    child = fork(lambda: None)

    with pytest.raises(ptrace.PtraceError, match="GETREGS"):
        ptrace.registers(child)
    with pytest.raises(ptrace.PtraceError, match="No such process"):
        ptrace.resume(child)
    with pytest.raises(ptrace.PtraceError):
        ptrace.seize(1 << 21)
