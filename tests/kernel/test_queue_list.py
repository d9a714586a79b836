from __future__ import annotations

import os

import posix_ipc
import pytest

from lab.kernel import queue_list
from lab.kernel.libc import CLONE_NEWIPC, unshare
from lab.kernel.namespaces import World
from tests.forked import in_child, in_namespaces


def _make_queue() -> None:
    posix_ipc.MessageQueue("/jobs", posix_ipc.O_CREX, max_messages=1, max_message_size=1).close()


def _listed() -> list[str] | None:
    directory = queue_list.queue_directory()
    return None if directory is None else os.listdir(directory)


def test_queues_are_listed_where_none_are_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_list, "_MOUNTED", "/nowhere")

    def listed(_: World) -> list[list[str] | None]:
        before = _listed()
        _make_queue()
        return [before, _listed()]

    assert in_namespaces(listed) == [[], ["jobs"]]


def _refuse() -> int:
    raise PermissionError


def test_who_may_mount_nothing_takes_what_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(world: World) -> list[str] | None:
        monkeypatch.setattr(queue_list, "_mounted_nowhere", _refuse)
        monkeypatch.setattr(queue_list, "_MOUNTED", f"/proc/self/fd/{world.queues}")
        _make_queue()
        return _listed()

    assert in_namespaces(listed) == ["jobs"]


def test_a_mount_of_another_namespace_is_not_taken_for_ones_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listed(world: World) -> list[str] | None:
        monkeypatch.setattr(queue_list, "_mounted_nowhere", _refuse)
        monkeypatch.setattr(queue_list, "_MOUNTED", f"/proc/self/fd/{world.queues}")
        unshare(CLONE_NEWIPC)
        return _listed()

    assert in_namespaces(listed) is None


def test_an_empty_mount_point_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_list, "_mounted_nowhere", _refuse)
    monkeypatch.setattr(queue_list, "_MOUNTED", "/")

    assert in_child(_listed) is None
