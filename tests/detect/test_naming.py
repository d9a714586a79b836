from __future__ import annotations

import tempfile
from multiprocessing import shared_memory, synchronize
from pathlib import Path

import pytest

from lab.detect.naming import stable_name


@pytest.mark.parametrize(
    ("name", "stable"),
    [
        ("/psm_1f00ba44", "/psm_*"),
        ("/mp-k3x0_2ab", "/mp-*"),
        ("/tmp/tmpab12cd34/request.fifo", "/tmp/tmp*/request.fifo"),
        ("/tmp/tmpab12cd34.txt", "/tmp/tmp*.txt"),
        ("/tmp/tmp.AbCd123456", "/tmp/tmp.*"),
        ("/tmp/pymp-k3x0_2ab/listener-k3x0_2ac", "/tmp/pymp-*/listener-*"),
        ("/tmp/lab-k3x0_2ab/request.fifo", "/tmp/lab-*/request.fifo"),
        ("/hlIzY2 (unlinked)", "/* (unlinked)"),
        ("pipe:[4711]", "pipe:[*]"),
        ("private, id 32769", "private, id *"),
    ],
)
def test_what_is_drawn_anew_in_each_run_is_left_out(name: str, stable: str) -> None:
    assert stable_name(name) == stable


@pytest.mark.parametrize(
    "name",
    ["/jobs", "/jobs1", "/lab-messages", "key 0x0000004c", "/tmp/request", "/tmp/tmpfs", "/psm_x"],
)
def test_a_name_that_an_author_chose_stays(name: str) -> None:
    assert stable_name(name) == name


def test_the_standard_library_still_draws_names_as_expected(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
        drawn = {
            shared_memory._make_filename(),  # type: ignore[attr-defined]
            synchronize.SemLock._make_name(),  # type: ignore[attr-defined]
            directory,
        }

    assert all(stable_name(name).endswith("*") for name in drawn), drawn
