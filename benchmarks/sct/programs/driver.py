"""CS.bluetooth_driver_bad: a driver is stopped while a request is on its way into it."""

from __future__ import annotations

from benchmarks.sct.shared import beside, cells, lock


def bluetooth() -> None:
    """The request looks whether the driver stops, and only then says that it is there.

    Two tasks, one of which is the parent; adding to the count is atomic (a lock, as in the
    original). The bug: the driver stops completely between the look and the count.
    """
    atomic = lock("atomic")
    shared = cells(1, 0, 0, 0)
    pending, stopping, event, stopped = range(4)

    def enter() -> bool:
        if shared[stopping]:
            return False
        with atomic:
            shared[pending] += 1
        return True

    def leave() -> None:
        with atomic:
            shared[pending] -= 1
            left = shared[pending]
        if left == 0:
            shared[event] = 1

    def request() -> None:
        if enter():
            assert not shared[stopped]
        leave()

    def stop() -> None:
        shared[stopping] = 1
        leave()
        if shared[event]:
            shared[stopped] = 1

    with beside(stop):
        request()
