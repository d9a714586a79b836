"""All other system calls: those that stay inside a process, and those that may do anything.

The filter lets the first kind pass. A call that is in no table, this kernel's newest among them, is
a visible operation that depends on everything: a dependence that is not seen could make the lab
prove what is not so. What happens through a few calls cannot be seen at all; a program that makes
one of these cannot be judged, and the run says so.
"""

from __future__ import annotations

import errno

from lab.kernel.arch import Registers
from lab.run.control.machine import UnexpectedStopError
from lab.run.control.opening import pointed_into
from lab.run.control.task import CallOperation, Effect, Operation, Task
from lab.run.control.world import World
from lab.trace import Action

PRIVATE = frozenset(
    """
    fstatfs statfs ustat brk rt_sigreturn sigaltstack mincore madvise msync mlock munlock mlockall
    munlockall mlock2 getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid
    getresgid getpgid getpgrp getsid setuid setgid setreuid setregid setgroups setresuid setresgid
    setfsuid setfsgid capget capset uname getrlimit setrlimit prlimit64 getrusage sysinfo times
    getpriority setpriority sched_setparam sched_getparam sched_setscheduler sched_getscheduler
    sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_setattr sched_getattr
    sched_setaffinity sched_getaffinity getcpu ioprio_get ioprio_set personality arch_prctl
    modify_ldt set_thread_area get_thread_area set_tid_address set_robust_list get_robust_list rseq
    membarrier seccomp umask getcwd chdir fchdir dup pipe pipe2 socket getsockname
    getpeername getsockopt setsockopt epoll_create epoll_create1 epoll_ctl eventfd eventfd2 signalfd
    signalfd4 timerfd_create inotify_init inotify_init1 memfd_create memfd_secret pidfd_open
    pidfd_getfd fadvise64 readahead fsync fdatasync sync syncfs sync_file_range rt_sigpending
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


def other(_world: World, task: Task, name: str, regs: Registers) -> Operation | None:
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
    return None if name in PRIVATE else Unknown(name or "a new system call", regs)


def handed_memory(task: Task, operation: Operation | None, regs: Registers) -> Operation | None:
    """What a model says of a call, and what the call does to shared memory that it is handed."""
    if not task.space.regions or not regs.goes_on or not task.at_call:
        return operation
    things = [region.memory.identity for region in pointed_into(task, regs)]
    if not things:
        return operation
    if operation is None:
        return HandedMemory(regs.call, regs, things)
    operation.also += tuple(thing for thing in dict.fromkeys(things) if thing != operation.object)
    return operation
