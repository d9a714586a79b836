"""One controlled run after another in one sandbox, each from the same pristine start."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.kernel import inherited, ipc_tables, layers, procfs, ptrace, seccomp, tracing
from lab.kernel.arch import NEWER, injection
from lab.kernel.namespaces import World as Mounts
from lab.kernel.namespaces import furnish, leave_host
from lab.kernel.queue_list import queue_directory
from lab.kernel.window import WINDOW, Space
from lab.run.control import zygote
from lab.run.control.anchors import Anchors
from lab.run.control.binding import Binding
from lab.run.control.catalogue import TRACED
from lab.run.control.guard import guard_inherited
from lab.run.control.machine import TRAP, Machine, UnexpectedStopError
from lab.run.control.names import Names
from lab.run.control.objects import HostObjects, PrivateObjects
from lab.run.control.outside_files import OutsideFiles
from lab.run.control.program import break_everywhere, command_of, open_memory
from lab.run.control.report import blocked_in, trace_of
from lab.run.control.scheduler import Scheduler, first_task
from lab.run.control.task import Process, Task, Where
from lab.run.control.world import OverrunError, World, leaders_last
from lab.run.host_turn import host_turn
from lab.run.letterbox import Letterbox
from lab.run.limits import LabError, Limits
from lab.run.output import Output
from lab.run.redis_process import Serving
from lab.run.root import Program
from lab.search.strategy import Point
from lab.trace import Ending, Trace


class ControlRefusedError(LabError):
    """The kernel refuses to let the lab trace processes, or to give it namespaces."""


class OutOfTimeError(Exception):
    """A task computed for longer than the time limit without a visible operation."""


@dataclass(frozen=True)
class Pattern:
    """Where the first root has its breakpoints, all have theirs."""

    breakpoints: dict[int, tuple[str, int]]
    entries: dict[int, str]
    errno_location: int
    lock_acquire: int
    semaphore_waits: set[int]


@dataclass
class Kept:
    """What a runner keeps from run to run."""

    letterbox: Letterbox
    output: Output
    commands: socket.socket
    hello: socket.socket
    mounts: Mounts
    init: int


class Runner:
    """Runs a program under control. Lives in a tracer process of its own, see `in_controller`."""

    def __init__(
        self,
        program: Program,
        limits: Limits,
        binding: Binding,
        *,
        new_user: bool,
        serving: Serving | None = None,
    ) -> None:
        """Build the sandbox.

        Args:
            program: what to run.
            limits: bounds of each run.
            binding: the CPU.
            new_user: a user namespace is needed.
            serving: the Redis server that the program uses.

        Raises ControlRefusedError.
        """
        self._program, self._limits, self._binding = program, limits, binding
        try:
            self._inherited = inherited.mappings()
        except MemoryError as error:
            raise ControlRefusedError(str(error)) from None
        self._store = None
        if serving is not None:
            from lab.run.control.redis.store import Store

            self._store = Store(serving)
        fixtures = limits.surroundings.objects
        self._own_ipc = not fixtures
        temporary = os.path.realpath(tempfile.gettempdir())
        self._anchors = Anchors.of(os.getcwd(), temporary, limits.scratch)
        self._outside = OutsideFiles(limits.surroundings.since)
        self._turn = contextlib.ExitStack()
        if fixtures:
            self._turn.enter_context(host_turn(_TURN))
        leave_host(new_user=new_user, ipc=self._own_ipc)
        mounts = furnish(
            private_files=True, processes=False, ipc=self._own_ipc, scratch=limits.scratch
        )
        self._objects = (
            PrivateObjects(mounts.queues)
            if self._own_ipc
            else HostObjects(queue_directory(), fixtures)
        )
        self._kept = self._start(mounts)
        self._pattern: Pattern | None = None
        self.stops = 0
        """Stops of traced tasks in all runs so far: what control costs."""
        self.runs = 0

    def run(
        self, choose: Callable[[Point], int], *, max_steps: int, with_lines: bool = False
    ) -> Trace:
        """Run the program once.

        Args:
            choose: decides at each step who moves.
            max_steps: after so many steps the run is ended as endless.
            with_lines: note at each step at which line of Python the program is; slow.

        Raises ControlRefusedError, and whatever `choose` raises, after ending the run.
        """
        kept = self._kept
        self._binding.renew(kept.init)
        kept.letterbox.reset()
        kept.output.empty()
        for mapping in self._inherited:
            mapping.restore()
        if self._store is not None:
            self._store.begin()
        host = self._fork_root(zygote.RUN_WITH_LINES if with_lines else zygote.RUN)
        machine = Machine()
        world = World(
            machine,
            Names(
                self._places(),
                _installed(),
                queues=dict(self._objects.queues),
                working=os.getcwd(),
                anchors=self._anchors,
            ),
            outside=self._outside,
            own_ipc=self._own_ipc,
            with_lines=with_lines,
            most_processes=self._limits.processes,
            store=self._store,
        )
        try:
            self._seize(host)
            root = first_task(world, host, Space(open_memory(host)))
            guard_inherited(world, root, self._inherited)
            self._set_breakpoints(root.process)
            root.process.command = command_of(host)
            kept.hello.sendall(b"+")
            root.running = True
            ending, trouble = self._scheduled(Scheduler(world, choose, max_steps=max_steps), root)
            blocked = blocked_in(world) if ending is Ending.STUCK else ()
            self._end_all(world)
            # A removed segment that this process has mapped would be found as left behind.
            world.close()
            doubts = self._put_back(world)
            trace = trace_of(
                world,
                self._program,
                self._limits,
                ending,
                trouble,
                blocked,
                kept.letterbox.collect(),
                kept.output.text(),
                self._left(world),
                doubts,
            )
        except BaseException:  # `choose` may abandon a run, and Ctrl-C end all: nobody is left
            self._end_all(world)
            raise
        finally:
            world.close()
            self._put_back(world)
            self._clear(world)
            for mapping in self._inherited:
                mapping.restore()
            self.stops += machine.stops
            self.runs += 1
        return trace

    def _scheduled(self, scheduler: Scheduler, root: Task) -> tuple[Ending, str]:
        def late(_signal: int, _frame: object) -> None:
            raise OutOfTimeError

        signal.signal(signal.SIGALRM, late)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, self._limits.seconds)
                scheduler.advance(root)
                return scheduler.run(), ""
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except OutOfTimeError:  # it may come as late as in the line above
            return Ending.TIMED_OUT, ""
        except OverrunError:
            return Ending.OVERRUN, ""
        except (UnexpectedStopError, OSError) as failure:
            return Ending.BROKEN, f"control was lost: {failure}"

    def _set_breakpoints(self, root: Process) -> None:
        """In every root at the same places: they are all forks of one zygote."""
        space = root.space
        if self._pattern is None:
            break_everywhere(root)
            # Copied, since libraries that this run loads later are none of the next one's.
            self._pattern = Pattern(
                dict(space.breakpoints),
                dict(space.entries),
                space.errno_location,
                space.lock_acquire,
                set(space.semaphore_waits),
            )
            return
        space.breakpoints = dict(self._pattern.breakpoints)
        space.entries = dict(self._pattern.entries)
        space.errno_location = self._pattern.errno_location
        space.lock_acquire = self._pattern.lock_acquire
        space.semaphore_waits = set(self._pattern.semaphore_waits)
        for place in space.breakpoints:
            injection.write(space.memory, place, TRAP)

    # -- the sandbox ----------------------------------------------------------------------

    def _start(self, mounts: Mounts) -> Kept:
        letterbox, output = Letterbox(attended=False), Output()
        commands, theirs = socket.socketpair()
        hello, reporting = socket.socketpair()
        hello.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        hello.settimeout(_PATIENCE)
        nothing = os.open(os.devnull, os.O_RDONLY)
        rules = seccomp.Rules(
            traced=seccomp.numbers_of(TRACED) | frozenset(NEWER),
            free_start=injection.PAGE,
            free_end=injection.PAGE + injection.SIZE,
            window_high=WINDOW >> 32,
            elsewhere=tuple((mapping.start, mapping.end) for mapping in self._inherited),
        )
        assignment = zygote.Assignment(
            self._program,
            letterbox,
            (nothing, output.descriptor, output.descriptor),
            seccomp.assemble(rules),
            self._objects.descriptors | self._limits.surroundings.descriptors,
        )
        init = os.fork()
        if init == 0:
            commands.close()
            hello.close()
            zygote.serve(assignment, theirs, reporting)
        theirs.close()
        reporting.close()
        os.close(nothing)
        kept = Kept(letterbox, output, commands, hello, mounts, init)
        self._answered(commands)
        return kept

    def _command(self, command: bytes) -> None:
        self._kept.commands.sendall(command)
        self._answered(self._kept.commands)

    @staticmethod
    def _answered(commands: socket.socket) -> None:
        answer = commands.recv(1 << 16)
        if answer != b"+":
            raise LabError(f"the sandbox's zygote failed: {answer.decode(errors='replace')}")

    def _fork_root(self, command: bytes) -> int:
        """Have a root forked; returns its PID as this process sees it.

        The kernel translates the PID in a message's credentials for whoever reads it.
        """
        self._command(command)
        size = socket.CMSG_SPACE(_CREDENTIALS.size)
        try:
            _, ancillary, _, _ = self._kept.hello.recvmsg(1, size)
        except TimeoutError:
            raise LabError(f"the root process did not begin: {self._kept.output.text()}") from None
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                pid: int = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
                return pid
        raise LabError("the root process did not say who it is")

    @staticmethod
    def _seize(host: int) -> None:
        for call, refused in tracing.refusals(host).items():
            # It waits to be traced, and must not wait for ever.
            os.kill(host, signal.SIGKILL)
            raise ControlRefusedError(
                f"{call} is refused here ({os.strerror(refused.errno or 0)}), so nothing can be "
                f"controlled: {tracing.remedy(call, refused)}; `lab run` still observes"
            )

    def _places(self) -> tuple[str, ...]:
        layers = (layer.path for layer in self._kept.mounts.tmp)
        return tuple(dict.fromkeys((*layers, os.getcwd())))

    def _end_all(self, world: World) -> None:
        """Kill every task that is left, and see each one end."""
        for task in list(world.alive):
            with contextlib.suppress(ProcessLookupError):
                os.kill(task.process.host, signal.SIGKILL)
        for task in leaders_last(world.alive):
            while task.where is not Where.GONE:
                try:
                    _, status = os.waitpid(task.tid, ptrace.WALL)
                except ChildProcessError:
                    break
                if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                    task.where = Where.GONE
                else:
                    with contextlib.suppress(ptrace.PtraceError):
                        ptrace.resume(task.tid)
        for process in world.processes:
            if process.ended is None:
                process.space.leave()
        self._end_strays()

    def _end_strays(self) -> None:
        """Nobody is left but the zygote when the next run begins."""
        # The run may have been ended between a birth and the news of it.
        for stray in procfs.descendants(self._kept.init):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(stray, signal.SIGKILL)
                while os.WIFSTOPPED(os.waitpid(stray, ptrace.WALL)[1]):
                    ptrace.resume(stray)
        # A zombie that falls to init goes a moment after its parent's end is told, and keeps its
        # PID until then: the next run would get others.
        until = time.monotonic() + _PATIENCE
        while procfs.descendants(self._kept.init) and time.monotonic() < until:
            os.sched_yield()

    def _put_back(self, world: World) -> tuple[str, ...]:
        return (*self._objects.put_back(world), *self._outside.put_back())

    def _left(self, world: World) -> list[ipc_tables.Entry]:
        left = self._objects.made(world)
        for layer in self._kept.mounts.tmp:
            left += ipc_tables.files_below(layer.changes, layer.path, layer.original)
        return [entry for entry in left if not self._limits.keeps(entry.name)]

    def _clear(self, world: World) -> None:
        """Empty the sandbox for the next run."""
        for entry in self._objects.made(world):
            ipc_tables.remove(entry)
        for layer in self._kept.mounts.tmp:
            layers.put_back(layer.changes, layer.path, layer.original)

    def close(self) -> None:
        """Take the sandbox down."""
        if self._store is not None:
            self._store.close()
        self._kept.commands.close()
        os.kill(self._kept.init, signal.SIGKILL)
        os.waitpid(self._kept.init, 0)
        self._kept.letterbox.close()
        self._kept.output.close()
        self._turn.close()


def _installed() -> tuple[str, ...]:
    """An interpreter's files, and where it looks for modules: read by every process at its start.

    Modules may lie in the working directory as well, or beside it, and what a program writes there
    it shares all the same.
    """
    here = Path.cwd()
    own = [path for path in map(Path, (sys.prefix, sys.base_prefix)) if path != Path("/usr")]
    modules = [path for path in map(Path, filter(None, sys.path)) if not path.is_relative_to(here)]
    found = (path for path in (*own, *modules) if not here.is_relative_to(path))
    return tuple(map(str, dict.fromkeys(found)))


_TURN = 60.0
"""Seconds that another exploration on the host's own IPC tables may take per turn, see
`host_turn`."""
_PATIENCE = 10.0
"""Seconds that a forked root has to report: it takes milliseconds."""
_CREDENTIALS = struct.Struct("=iII")
