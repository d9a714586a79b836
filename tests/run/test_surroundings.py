from __future__ import annotations

import errno
import os
import resource
import tempfile
from pathlib import Path

import pytest

from lab.run import worlds
from lab.run.limits import LabError
from lab.run.surroundings import demand_surroundings, explained
from tests.forked import in_child


def complaint() -> str:
    with pytest.raises(LabError) as missing:
        demand_surroundings()
    return str(missing.value)


def test_where_all_is_there_nothing_is_said() -> None:
    demand_surroundings()


def test_a_working_directory_that_was_removed_is_told(tmp_path: Path) -> None:
    def told() -> str:
        place = tmp_path / "place"
        place.mkdir()
        os.chdir(place)
        place.rmdir()
        return complaint()

    assert "the working directory was removed" in in_child(told)


@pytest.mark.parametrize("more", [0, 20])
def test_too_few_descriptors_are_told_before_a_program_is_blamed(more: int) -> None:
    def told() -> str:
        taken = len(os.listdir("/proc/self/fd")) - 1
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + more, hard))
        return complaint()

    assert "raise `ulimit -n`" in in_child(told)


def test_that_no_directory_for_temporary_files_is_left_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)

    assert "set TMPDIR" in complaint()


def test_a_process_that_cannot_be_started_is_no_failure_of_the_labs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refused)

    with pytest.raises(LabError, match=r"no process can be started: .*raise `ulimit -u`"):
        worlds.fork()


def test_what_is_short_is_told_in_one_line_with_what_to_do() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x")

    assert explained(full) == "No space left on device (/tmp/x): make room there"


def test_any_other_failure_is_told_with_its_place() -> None:
    try:
        os.stat("/no/such/file")
    except OSError as error:
        text = explained(error)

    assert "test_surroundings.py" in text
    assert "FileNotFoundError" in text
