"""The tracer process: forked for one exploration, gone with it.

Tracing wants a process of its own. A tracer waits for any of its children, and inside somebody's
pytest that would take away exits that are not its own; and the kernel ends everything that is
traced with the tracer (PTRACE_O_EXITKILL), so when the lab dies, nothing is left.

It is bound to one CPU, with all that it traces: a stop is then a switch on a warm CPU. Unbound it
costs three times as much.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn, TypeVar

from lab.kernel import libc
from lab.kernel.arch import SUPPORTED
from lab.kernel.ipc_namespace import NamespaceError
from lab.parcel import CutOff, put, take
from lab.run.control.binding import Binding
from lab.run.control.runner import ControlRefusedError, Runner
from lab.run.limits import Isolation, LabError, Limits
from lab.run.redis_process import served
from lab.run.root import Program
from lab.run.worlds import choose

Result = TypeVar("Result")
Report = Callable[[object], None]


def in_controller(
    work: Callable[[Runner, Report], Result],
    program: Program,
    limits: Limits | None = None,
    *,
    heard: Report = lambda _: None,
    cpu: int | None = None,
) -> Result:
    """Do work that runs a program under control, in a tracer process; return its result.

    Args:
        work: called there with a runner and with a function that sends something here.
        program: what the runner runs.
        limits: bounds of each run.
        heard: called here with whatever the work reports meanwhile.
        cpu: the CPU to be bound to; by default whichever is idle.

    Raises ControlRefusedError where tracing or namespaces are refused, LabError when the tracer
    process failed, KeyboardInterrupt after cleaning up.
    """
    child, ours = start(work, program, limits, cpu)
    try:
        with ours:
            return _listen(ours, heard)
    except BaseException:  # Ctrl-C too: whatever ends this, the tracer must not go on without us
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.waitpid(child, 0)


def start(
    work: Callable[[Runner, Report], object],
    program: Program,
    limits: Limits | None,
    cpu: int | None,
) -> tuple[int, socket.socket]:
    """Fork a tracer process; gives its PID and where it will be heard.

    Raises ControlRefusedError, LabError.
    """
    if sys.platform != "linux":
        raise LabError(f"control needs Linux (ptrace); this is {sys.platform}")
    if not SUPPORTED:
        raise ControlRefusedError(
            f"control knows x86_64 only, and this machine is {platform.machine()}; `lab run` "
            f"still observes"
        )
    world = choose(Isolation.AUTO)
    if world.isolation is not Isolation.NAMESPACES:
        raise ControlRefusedError(
            f"control needs namespaces of its own, and they are refused here ({world.refusal}); "
            f"`lab doctor` tells what to change, and `lab run` still observes"
        )
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    lab = os.getpid()
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads, and under pytest-xdist there is one.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        ours.close()
        new_user = world.new_user
        _control(work, program, limits or Limits(), theirs, cpu, new_user=new_user, lab=lab)
    theirs.close()
    return child, ours


def _control(
    work: Callable[[Runner, Report], object],
    program: Program,
    limits: Limits,
    channel: socket.socket,
    cpu: int | None,
    *,
    new_user: bool,
    lab: int,
) -> NoReturn:
    def send(kind: str, value: object) -> None:
        put(channel.sendall, (kind, value))

    try:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != lab:
            os._exit(1)  # it died before that was said
        os.setsid()  # Ctrl-C at the terminal is the lab's to handle
        libc.set_name("lab-controller")
        with served(program) as (ready, serving):  # before there are namespaces in the way
            runner = Runner(ready, limits, Binding(cpu), new_user=new_user, serving=serving)
            result = work(runner, lambda value: send("report", value))
            runner.close()
        send("result", result)
    except (LabError, NamespaceError) as error:
        send("refused", error)
    except BaseException:  # noqa: BLE001  # this process must never run on as a second lab
        with contextlib.suppress(OSError):
            send("failed", traceback.format_exc())
    os._exit(0)


def _listen(channel: socket.socket, heard: Report) -> Result:  # type: ignore[type-var]
    while True:
        kind, value = receive(channel)
        if kind == "result":
            return value  # type: ignore[return-value]
        heard(value)


def receive(channel: socket.socket) -> tuple[str, object]:
    """The next that a tracer process says: a "report", or the "result" and then no more.

    Raises what it failed with, or LabError.
    """
    try:
        told = take(channel.recv)
    except CutOff:
        raise LabError("the tracer process failed: it ended in the middle of a word") from None
    except EOFError:
        raise LabError("the tracer process failed: it ended without a word") from None
    assert isinstance(told, tuple)
    kind, value = told
    if kind == "refused" and isinstance(value, LabError):
        raise value
    if kind not in ("report", "result"):
        raise LabError(f"the tracer process failed: {value}")
    return kind, value
