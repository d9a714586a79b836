"""CS.stack_bad: one pushes, one pops, and a flag says only that something was pushed once."""

from __future__ import annotations

from benchmarks.sct.shared import cells, lock, together

_SIZE = 10


def stack() -> None:
    """Ten pushes and ten pops, each under the lock; the bug is to pop from the empty stack.

    Two tasks. The flag is never taken back, so after the first push the consumer must only be
    faster than the producer.
    """
    mutex = lock("m")
    shared = cells(0, 0, *[0] * _SIZE)
    top, flag, array = range(3)

    def push(value: int) -> bool:
        if shared[top] == _SIZE:
            return False
        shared[array + shared[top]] = value
        shared[top] += 1
        return True

    def pop() -> bool:
        if shared[top] == 0:
            return False
        shared[top] -= 1
        _ = shared[array + shared[top]]
        return True

    def produce() -> None:
        for value in range(_SIZE):
            with mutex:
                assert push(value), "overflow"
                shared[flag] = 1

    def consume() -> None:
        for _ in range(_SIZE):
            with mutex:
                if shared[flag]:
                    assert pop(), "underflow"

    together(produce, consume)
