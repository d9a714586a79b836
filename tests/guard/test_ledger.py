"""What forked children write down reaches their parent, whatever becomes of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.guard.births import Births
from lab.guard.leak import Birth
from lab.guard.ledger import Ledger
from tests.forked import in_child


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ledger = Ledger()
    yield ledger
    ledger.close()
    assert list(tmp_path.iterdir()) == []


def test_nothing_was_written_down(ledger: Ledger) -> None:
    assert ledger.read() == {}


def test_the_last_word_about_a_path_counts_and_says_which_child(ledger: Ledger) -> None:
    def child() -> int:
        ledger.note("/dev/shm/\udcff\n", "test_jobs.py:5")
        ledger.note("/dev/shm/\udcff\n", "test_jobs.py:6")
        return os.getpid()

    pid = in_child(child)
    assert ledger.read() == {
        "/dev/shm/\udcff\n": Birth("test_jobs.py:6", process=f"its child {pid}")
    }


def test_children_that_write_at_once_keep_each_others_lines(ledger: Ledger) -> None:
    pids = []
    for number in range(4):
        if (pid := os.fork()) == 0:
            for each in range(50):
                ledger.note(f"/dev/shm/{number}.{each}", "here" * 20)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    assert len(ledger.read()) == 200


def test_a_line_that_a_full_disk_cut_short_hides_no_other(ledger: Ledger) -> None:
    for name in ("first", "second"):
        ledger.note(f"/dev/shm/{name}", "here")
    path = Path(ledger._path)
    path.write_text(path.read_text() + '["/dev/shm/third", "he')
    assert list(ledger.read()) == ["/dev/shm/first", "/dev/shm/second"]


def test_a_child_that_may_not_write_is_not_disturbed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user who may not write there")
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")  # where in_child begins
    in_child(lambda: ledger.note("/dev/shm/jobs", "here"), user="nobody")
    assert ledger.read() == {}


def test_temporary_files_may_lie_in_shared_memory(
    births: Births, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To write in the ledger opens a file there, which is announced, and no entry of its own."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        ledger = Ledger()
        births.note = ledger.note
        in_child(Path(folder, "made").touch)
        assert list(ledger.read()) == [f"{folder}/made"]
        ledger.close()
