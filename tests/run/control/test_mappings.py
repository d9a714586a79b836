"""What a program may do to a guarded mapping, and what it must not."""

from __future__ import annotations

import signal

import pytest

from lab.trace import Action
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, explore, outputs, steps

HEAD = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#define PAGE 4096
static volatile char *shared(size_t size) {
    return mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}
static int all_well(void) {
    int status, bad = 0;
    while (wait(&status) > 0) bad |= status;
    return bad != 0;
}
"""


CHANGES = {
    "unmapped in the middle": (
        "munmap((void*)memory+PAGE,PAGE)==0 && memory[0]=='a' && memory[2*PAGE]=='c'"
    ),
    "protected and opened again": (
        "mprotect((void*)memory,PAGE,PROT_READ)==0 && memory[0]=='a' && memory[PAGE]=='b' && "
        "mprotect((void*)memory,PAGE,PROT_READ|PROT_WRITE)==0 && (memory[0]='d')"
    ),
    "grown": (
        "(memory=mremap((void*)memory,3*PAGE,5*PAGE,MREMAP_MAYMOVE))!=MAP_FAILED && "
        "memory[0]=='a' && memory[2*PAGE]=='c'"
    ),
    "shrunk": "mremap((void*)memory,3*PAGE,PAGE,0)==memory && memory[0]=='a'",
    "moved over another": (
        "(memory=mremap((void*)memory,3*PAGE,3*PAGE,MREMAP_MAYMOVE|MREMAP_FIXED,other))!="
        "MAP_FAILED && memory[0]=='a' && memory[2*PAGE]=='c'"
    ),
    "covered by private memory": (
        "mmap((void*)memory,PAGE,3,MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED,-1,0)==memory && "
        "memory[0]==0 && memory[PAGE]=='b'"
    ),
    "covered by other shared memory": (
        "mmap((void*)memory,PAGE,3,MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED,-1,0)==memory && "
        "memory[0]==0 && memory[PAGE]=='b'"
    ),
    "advised away": "madvise((void*)memory,PAGE,MADV_DONTNEED)==0 && memory[0]=='a'",
    "synchronised": "msync((void*)memory,3*PAGE,MS_SYNC)==0 && memory[0]=='a'",
    "locked": "mlock((void*)memory,PAGE)==0 && memory[0]=='a'",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_guarded_mapping_may_be(compiled: Compile, change: str) -> None:
    source = (
        HEAD
        + f"""
    int main(void) {{
        volatile char *memory = shared(3 * PAGE);
        volatile char *other = shared(3 * PAGE);
        pid_t child = fork();
        (void)other;
        if (!child) {{
            memory[0] = 'a';
            memory[PAGE] = 'b';
            memory[2 * PAGE] = 'c';
            _exit(0);
        }}
        wait(0);
        int well = {change};
        memory[1] = 'z';
        return !well;
    }}
    """
    )
    traces = explore(compiled(source), 2, repeats=3)

    completed(traces)
    assert steps(traces[0], Action.READ, of="shared-memory")


FAULTS = {
    "a write to memory that is read-only": (
        "mprotect((void*)memory,PAGE,PROT_READ);memory[0]=1",
        signal.SIGSEGV,
    ),
    "a read of memory that has no protection": (
        "mprotect((void*)memory,PAGE,PROT_NONE);(void)memory[0]",
        signal.SIGSEGV,
    ),
    "an access to what was unmapped": ("munmap((void*)memory,PAGE);memory[0]=1", signal.SIGSEGV),
    "an access beyond the end of a file": ("ftruncate(file,0);memory[0]=1", signal.SIGBUS),
    "another access after the file was cut": (
        "memory[0]=1;ftruncate(file,0);memory[0]=1",
        signal.SIGBUS,
    ),
}


@pytest.mark.parametrize(("fault", "number"), FAULTS.values(), ids=FAULTS)
def test_what_the_program_must_not_do_is_its_own_crash(
    compiled: Compile, fault: str, number: int
) -> None:
    source = (
        HEAD
        + f"""
    int main(void) {{
        int file = open("/tmp/mapped", O_CREAT | O_RDWR, 0600);
        (void)!ftruncate(file, PAGE);
        volatile char *memory = mmap(0, PAGE, 3, MAP_SHARED, file, 0);
        pid_t child = fork();
        if (!child) {{ {fault}; _exit(0); }}
        int status;
        waitpid(child, &status, 0);
        printf("%d\\n", status & 0x7f);
        return 0;
    }}
    """
    )
    traces = explore(compiled(source), 2, repeats=3)

    completed(traces)
    assert outputs(traces) == {f"{int(number)}\n"}


def test_a_program_handles_faults_in_its_shared_memory(compiled: Compile) -> None:
    source = (
        HEAD
        + r"""
    static volatile char *memory;
    static volatile int faults;
    static void handler(int n, siginfo_t *info, void *context) {
        faults++;
        if (info->si_addr != memory || info->si_signo != SIGSEGV) _exit(9);
        mprotect((void *)memory, PAGE, PROT_READ | PROT_WRITE);
    }
    int main(void) {
        memory = shared(PAGE);
        struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
        sigaction(SIGSEGV, &action, 0);
        if (!fork()) {
            mprotect((void *)memory, PAGE, PROT_READ);
            if (memory[0]) _exit(8);
            memory[0] = 1;
            _exit(faults != 1);
        }
        return all_well() || memory[0] != 1;
    }
    """
    )
    completed(explore(compiled(source), 4))
