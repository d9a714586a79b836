"""Paths: where one leads for a task, and over which symbolic links."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from lab.run.control.opened import link_of
from lab.run.control.task import Task

AT_FDCWD = -100
_DELETED = " (deleted)"
_MOST_LINKS = 40
"""As many as the kernel follows."""
_NO_PATH = re.compile(r"/proc/\d+/(task/\d+/)?fd/\d+")
"""Links that lead to what is open, whatever path they show."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a path leads."""

    end: str
    """Without symbolic links."""
    links: tuple[str, ...] = ()
    """The paths of those that were followed: who changes one of them changes the end."""


def path_argument(task: Task, directory: int, address: int) -> str:
    """A path argument, made absolute as the task would resolve it."""
    given = task.space.string(address)
    if given.startswith("/"):
        return given
    base = link_of(task, "cwd" if directory == AT_FDCWD else f"fd/{directory}")
    if base is None:
        return given
    # A directory that is not there any more goes by the path at which it was missed.
    return os.path.join(base.removesuffix(_DELETED), given)


def resolved(task: Task, path: str, *, last: bool = True) -> Way:
    """Where a path leads, as the task sees it.

    Args:
        task: who would use it.
        path: absolute.
        last: also if the last part of it is a symbolic link.
    """
    done, links = "", list[str]()
    left = _parts(path)
    while left:
        part = left.pop(0)
        if part == "..":  # of where the links have led, and not of what was written
            done = done.rpartition("/")[0]
            continue
        place = f"{done}/{part}"
        link = _link_at(task, place) if left or last else ""
        if not link or len(links) == _MOST_LINKS:
            done = place
            continue
        if not place.startswith("/proc/"):
            links.append(place)
        done = "" if link.startswith("/") else done
        left = _parts(link) + left
    return Way(done or "/", tuple(links))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _link_at(task: Task, place: str) -> str:
    """What a symbolic link says; "" where there is none."""
    if place == "/proc/self":  # another one for the tracer
        return str(task.process.pid)
    if place == "/proc/thread-self":
        return f"{task.process.pid}/task/{task.inner}"
    try:
        link = os.readlink(f"/proc/{task.tid}/root{place}")
    except OSError:
        return ""
    if _NO_PATH.fullmatch(place):
        return link.removesuffix(_DELETED) if link.startswith("/") else ""
    return link


def status_at(task: Task, path: str) -> os.stat_result | None:
    """What lies at a path, as the task sees it; None: nothing."""
    try:
        return os.stat(f"/proc/{task.tid}/root{path}")
    except OSError:
        return None
