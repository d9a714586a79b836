"""Threads: each is followed, and a process ends, stops and changes as a whole."""

from __future__ import annotations

import os
import threading
import time

import pytest

from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, explore, outputs


def test_threads_inside_a_process_take_turns() -> None:
    def body() -> None:
        seen: list[int] = []

        def count(start: int) -> None:
            for number in range(3):
                seen.append(start + number)
                time.sleep(0.01)

        threads = [threading.Thread(target=count, args=(10 * each,)) for each in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == [10, 11, 12, 20, 21, 22]
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        os.write(1, repr(seen).encode())

    traces = explore(body, 8)

    completed(traces)
    assert len(outputs(traces)) > 1


THREADS = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void *other(void *argument) { OTHER; return 0; }
int main(int argc, char **argv) {
    if (argc > 1) { puts("reborn"); return 3; }
    pid_t child = fork();
    if (!child) {
        pthread_t thread;
        pthread_create(&thread, 0, other, 0);
        FIRST;
        pthread_join(thread, 0);
        _exit(9);
    }
    int status;
    FATE;
    waitpid(child, &status, 0);
    printf("%d %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
           WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return 0;
}
"""
FOREVER = "while(1)pause()"
EXECUTE = 'execl("/proc/self/exe","x","again",(char*)0)'
FATES = {
    "first thread ends, then the other": ("pthread_exit(0)", "usleep(5)", "", "0 0\n"),
    "other thread ends the process": (FOREVER, "usleep(5);exit(4)", "", "4 0\n"),
    "first thread ends the process": ("exit(4)", FOREVER, "", "4 0\n"),
    "first thread crashes": ("*(volatile int*)0=0", FOREVER, "", "-1 11\n"),
    "other thread crashes": (FOREVER, "*(volatile int*)0=0", "", "-1 11\n"),
    "it aborts": ("abort()", FOREVER, "", "-1 6\n"),
    "it is terminated": (FOREVER, FOREVER, "usleep(9);kill(child,SIGTERM)", "-1 15\n"),
    "it is killed": (FOREVER, FOREVER, "usleep(9);kill(child,SIGKILL)", "-1 9\n"),
    "it kills itself": ("kill(getpid(),SIGKILL)", FOREVER, "", "-1 9\n"),
    "its other thread kills it": (FOREVER, "kill(getpid(),SIGKILL)", "", "-1 9\n"),
    "first thread executes a program": (EXECUTE, FOREVER, "", "reborn\n3 0\n"),
    "other thread executes a program": (FOREVER, EXECUTE, "", "reborn\n3 0\n"),
    "execution fails": ('execl("/nowhere","x",(char*)0)', "usleep(5)", "", "9 0\n"),
}


@pytest.mark.parametrize(("first", "other", "fate", "said"), FATES.values(), ids=FATES)
def test_a_process_with_two_threads_when(
    compiled: Compile, first: str, other: str, fate: str, said: str
) -> None:
    program = compiled(THREADS, f"-DFIRST={first}", f"-DOTHER={other}", f"-DFATE={fate}")

    traces = explore(program, 4)

    completed(traces)
    assert outputs(traces) == {said}


def test_a_stopped_process_with_threads_stands_still_as_a_whole(compiled: Compile) -> None:
    program = compiled(
        THREADS,
        "-DFIRST=for(int i=0;i<5;i++)usleep(1)",
        "-DOTHER=for(int i=0;i<5;i++)usleep(1)",
        "-DFATE=kill(child,SIGSTOP);waitpid(child,&status,WUNTRACED);"
        'printf("%d\\n",WIFSTOPPED(status));usleep(9);kill(child,SIGCONT)',
    )

    traces = explore(program, 10)

    completed(traces)
    assert outputs(traces) == {"1\n9 0\n"}
