"""All other system calls: those that stay inside a process, and those that may do anything.

The filter lets the first kind pass. A call that is in no table, this kernel's newest among them, is
a visible operation that depends on everything: a dependence that is not seen could make the lab
prove what is not so. What happens through a few calls cannot be seen at all; a program that makes
one of these cannot be judged, and the run says so.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from lab.kernel.arch import Registers
from lab.kernel.window import BadAddressError
from lab.run.control.machine import UnexpectedStopError
from lab.run.control.opening import pointed_into
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.unvaried import UNMODELLED_EVENTS
from lab.run.control.world import Model, World
from lab.trace import Action

PRIVATE = frozenset(
    """
    fstatfs statfs ustat brk rt_sigreturn sigaltstack mincore madvise msync mlock munlock mlockall
    munlockall mlock2 getpid gettid getuid geteuid getgid getegid getgroups getresuid
    getresgid setuid setgid setreuid setregid setgroups setresuid setresgid
    setfsuid setfsgid capget capset uname getrlimit setrlimit prlimit64 getrusage sysinfo times
    getpriority setpriority sched_setparam sched_getparam sched_setscheduler sched_getscheduler
    sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_setattr sched_getattr
    sched_setaffinity sched_getaffinity getcpu ioprio_get ioprio_set personality arch_prctl
    modify_ldt set_thread_area get_thread_area set_tid_address set_robust_list get_robust_list rseq
    membarrier seccomp umask fchdir dup getsockname
    getpeername getsockopt setsockopt epoll_create epoll_create1 epoll_ctl signalfd
    signalfd4 timerfd_create memfd_secret
    pidfd_getfd fadvise64 readahead fsync fdatasync sync syncfs sync_file_range
    clock_getres timer_getoverrun kcmp mbind set_mempolicy get_mempolicy set_mempolicy_home_node
    migrate_pages move_pages pkey_alloc pkey_free process_mrelease landlock_create_ruleset
    landlock_add_rule landlock_restrict_self get_kernel_syms query_module nfsservctl
    """.split()  # noqa: SIM905  # to be read
)
"""Calls that nobody else can notice, nor anything that others do makes a difference to.

Some read what others may change (a resource's usage, a priority); as many programs read these
without need, and none coordinates through them, they count as private."""

_UNSEEN = dict.fromkeys(
    ("io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup", "io_submit"),
    "the kernel works for it beside its system calls",
) | {
    "userfaultfd": "it handles page faults, as the lab does",
    "process_vm_readv": "it reaches into the memory of another process",
    "process_vm_writev": "it reaches into the memory of another process",
    "remap_file_pages": "it rearranges shared memory page by page",
    "pkey_mprotect": "it protects memory by keys",
}

_EMULATED_FUTEX = frozenset({"futex_waitv", "futex_wait", "futex_wake", "futex_requeue"})


class Unknown(CallOperation):
    """A call of which nothing is known: it may block, and it may change anything."""

    action = Action.CALL
    enters = True

    def perform(self, task: Task) -> Effect:
        """Enter the call; it may sleep there."""
        return Effect(result=task.machine.enter_call(task, self))


class HandedMemory(CallOperation):
    """A call that concerns nobody else, but is handed a pointer into shared memory."""

    action = Action.UPDATE

    def __init__(self, name: str, regs: Registers, things: list[str]) -> None:
        super().__init__(name, regs)
        self.object, *rest = dict.fromkeys(things)
        self.also = tuple(rest)

    def perform(self, task: Task) -> Effect:
        """Make the call; the machine opens what it is handed."""
        return Effect(result=task.machine.run_to_end_of_call(task))


def other(world: World, task: Task, name: str, regs: Registers) -> Operation | None:
    """The model of every call that no table has.

    Raises UnexpectedStopError for one through which things happen unseen.
    """
    if name in _UNSEEN:
        raise UnexpectedStopError(
            f"{task.name} calls {name}: {_UNSEEN[name]}, so not all that happens can be seen, and "
            "nothing be said about this program; have it use plain system calls"
        )
    if name in _EMULATED_FUTEX:
        # Kernels before 5.16 and 6.7 lack them, so their users know what to do without.
        task.machine.answer(task, regs, -errno.ENOSYS)
        return None
    if name in UNMODELLED_EVENTS:
        world.unvaried[UNMODELLED_EVENTS[name]] = None
        return None
    return None if name in PRIVATE else Unknown(name or "a new system call", regs)


class Answered(HandedMemory):
    """A call that the lab answers itself, into shared memory."""

    def __init__(self, world: World, model: Model, regs: Registers, things: list[str]) -> None:
        super().__init__(regs.call, regs, things)
        self.world, self.model = world, model

    def perform(self, task: Task) -> Effect:
        """Have it answered now."""
        answer(self.world, task, self.model, self.call, self.regs)
        if self.regs.goes_on:
            return super().perform(task)
        return Effect(result=self.regs.result)


_ANSWERED = frozenset(
    """
    clock_gettime gettimeofday time getrandom getitimer setitimer timer_gettime timer_settime
    timerfd_gettime timerfd_settime
    """.split()  # noqa: SIM905  # to be read
)
"""Calls whose results the lab may write itself."""


def modelled(
    world: World, task: Task, regs: Registers, models: Mapping[str, Model]
) -> Operation | None:
    """The operation that a task stopped before; None if it touches nothing shared.

    Args:
        world: the run.
        task: at a stop before a system call.
        regs: its registers there.
        models: of calls, by name.
    """
    name = regs.call
    model = models.get(name, other)
    things = [region.memory.identity for region in pointed_into(task, regs)]
    if not things:
        return answer(world, task, model, name, regs)
    if name in _ANSWERED:
        return Answered(world, model, regs, things)
    operation = answer(world, task, model, name, regs)
    if operation is None and regs.goes_on and task.at_call:
        return HandedMemory(name, regs, things)
    if operation is not None:
        more = dict.fromkeys(thing for thing in things if thing != operation.object)
        operation.also += tuple(more)
    return operation


def answer(world: World, task: Task, model: Model, name: str, regs: Registers) -> Operation | None:
    """What a model says of a call; one that is given a pointer to nowhere fails."""
    try:
        return model(world, task, name, regs)
    except BadAddressError:
        task.machine.answer(task, regs, -errno.EFAULT)
        return None
