from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable

import pytest

from lab.kernel.procfs import descendants
from lab.run import line as module
from lab.run.limits import LabError
from lab.run.line import LabEnd, SandboxEnd, line
from lab.run.worlds import fork


def in_sandbox(body: Callable[[SandboxEnd], None]) -> tuple[LabEnd, int]:
    ours, theirs = line()
    child = fork()
    if child == 0:
        ours.drop()
        try:
            body(theirs)
        finally:
            os._exit(0)
    theirs.drop()
    return ours, child


def woken(end: SandboxEnd) -> bool:
    """Wait until the lab is gone."""
    poll = select.poll()
    partings = end.watch(poll)
    return bool(partings & {descriptor for descriptor, _ in poll.poll(60_000)})


@pytest.mark.parametrize("answer", ["text", b"x" * (8 << 20), {"any": ("thing",)}])
def test_an_answer_comes_over(answer: object) -> None:
    ours, child = in_sandbox(lambda end: end.tell(answer))

    assert ours.answer(60) == answer
    ours.hang_up()
    os.waitpid(child, 0)


def test_only_the_first_answer_counts() -> None:
    def twice(end: SandboxEnd) -> None:
        end.tell("first")
        end.tell("second")

    ours, child = in_sandbox(twice)

    assert ours.answer(60) == "first"
    ours.hang_up()
    os.waitpid(child, 0)


def test_one_that_ends_without_a_word_answers_none() -> None:
    ours, child = in_sandbox(lambda _: None)

    assert ours.answer(60) is None
    ours.hang_up()
    os.waitpid(child, 0)


def test_half_an_answer_is_none() -> None:
    ours, child = in_sandbox(lambda end: end._channel.sendall(b"\x80\x04\x95\xff"))

    assert ours.answer(60) is None
    ours.hang_up()
    os.waitpid(child, 0)


def test_silence_is_an_error_after_a_while() -> None:
    def silent(end: SandboxEnd) -> None:
        woken(end)

    ours, child = in_sandbox(silent)

    with pytest.raises(LabError, match="did not answer"):
        ours.answer(0.05)
    ours.hang_up()
    os.waitpid(child, 0)


def test_an_answer_comes_over_although_other_processes_hold_copies_of_the_ends() -> None:
    """Forks made by other threads of the lab meanwhile."""
    ours, theirs = line()
    copy = fork()
    if copy == 0:
        signal.pause()
    child = fork()
    if child == 0:
        ours.drop()
        theirs.tell("here")
        os._exit(0)
    theirs.drop()

    assert ours.answer(60) == "here"
    os.kill(copy, signal.SIGKILL)
    os.waitpid(copy, 0)
    os.waitpid(child, 0)
    ours.hang_up()


def test_hanging_up_wakes_the_sandbox_although_others_hold_copies() -> None:
    told, tell = os.pipe()
    ours, theirs = line()
    copy = fork()
    if copy == 0:
        signal.pause()
    child = fork()
    if child == 0:
        ours.drop()
        os.write(tell, b"y" if woken(theirs) else b"n")
        os._exit(0)
    theirs.drop()
    ours.hang_up()

    assert os.read(told, 1) == b"y"
    os.kill(copy, signal.SIGKILL)
    for process in (copy, child):
        os.waitpid(process, 0)
    os.close(told)
    os.close(tell)


def test_the_death_of_the_lab_wakes_the_sandbox_although_others_hold_copies() -> None:
    told, tell = os.pipe()
    lab = fork()
    if lab == 0:
        _, theirs = line()
        for body in (signal.pause, lambda: os.write(tell, b"y" * woken(theirs))):
            if os.fork() == 0:
                body()
                os._exit(0)
        os.write(tell, b".")
        signal.pause()
    assert os.read(told, 1) == b"."
    family = descendants(lab)
    os.kill(lab, signal.SIGKILL)
    os.waitpid(lab, 0)

    assert os.read(told, 1) == b"y"
    for pid in family:
        _kill(pid)
    os.close(told)
    os.close(tell)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_lab_with_a_thousand_open_files_hears_all_the_same() -> None:
    low, high = os.pipe()
    opened = [os.dup(low) for _ in range(1100 - low)]

    test_an_answer_comes_over("many")

    for descriptor in (low, high, *opened):
        os.close(descriptor)


def test_two_threads_of_a_lab_may_run_at_once() -> None:
    answers: list[object] = []

    def run(number: int) -> None:
        ours, child = in_sandbox(lambda end: end.tell(number))
        answers.append(ours.answer(60))
        ours.hang_up()
        os.waitpid(child, 0)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers, key=str) == list(range(8))


def test_a_kernel_without_descriptors_of_processes_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_pid: int) -> int:
        raise OSError(38, "pidfd_open: Function not implemented")

    monkeypatch.setattr(module, "pidfd_open", missing)

    with pytest.raises(LabError, match=r"Linux 5\.3 or newer"):
        line()
