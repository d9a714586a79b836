"""Names of files in a trace: alike in every checkout, TMPDIR and session of pytest."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lab.run.control.anchors import Anchors
from lab.search.strategy import Pending
from lab.trace import Action, Event
from tests.run.control.controlled import in_children, run

ANCHORS = Anchors.of("/home/me/project", "/scratch/me", ["/scratch/me/pytest-of-me/pytest-7"])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("file:/home/me/project/out/total", "file:out/total"),
        ("file:/home/me/project", "file:."),
        ("file:/home/me/projects/total", "file:/home/me/projects/total"),
        ("fifo:/scratch/me/jobs", "fifo:$TMPDIR/jobs"),
        ("file:/scratch/me/pytest-of-me/pytest-7/test_it0/a", "file:$BASETEMP/test_it0/a"),
        ("lock:/home/me/project/a:/b (2)", "lock:a:/b (2)"),
        ("running:file:/home/me/project/a", "running:file:a"),
        ("unix:/home/me/project/socket", "unix:socket"),
        ("unix:@/home/me/project/socket", "unix:@/home/me/project/socket"),
        ("posix-shm:/home/me/project/a", "posix-shm:/home/me/project/a"),
        ("redis:a:/home/me/project/a", "redis:a:/home/me/project/a"),
        ("pipe:1", "pipe:1"),
        ("", ""),
    ],
)
def test_a_path_is_told_from_where_the_run_takes_place(name: str, told: str) -> None:
    assert ANCHORS.shortened(name) == told
    event = Event(0, "P0", Action.OPEN, "openat", name, also=(name,))
    assert (ANCHORS.told(event).object, ANCHORS.told(event).also) == (told, (told,))
    pending = Pending("P0", Action.OPEN, name, also=(name,))
    assert (ANCHORS.told(pending).object, ANCHORS.told(pending).also) == (told, (told,))


def test_the_usual_temporary_directory_goes_by_its_name() -> None:
    assert Anchors.of("/home/me/project").shortened("file:/tmp/a") == "file:/tmp/a"


def test_what_leads_to_them_is_known() -> None:
    above = [
        "/home",
        "/home/me/project",
        "/scratch/me/pytest-of-me",
        "/home/me/project/a",
        "/homer",
    ]
    assert [ANCHORS.are_below(path) for path in above] == [True, True, True, False, False]


@pytest.mark.usefixtures("control")
def test_a_file_beside_the_modules_in_the_working_directory_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    for file in ("total", "package/total"):
        (tmp_path / file).write_text("1")  # to each run alike: here it outlives them
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), str(tmp_path / "package")])

    def body() -> None:
        def write() -> None:
            Path("total").write_text("1")
            Path("package/total").write_text("1")

        in_children(write, write)

    trace = run(body)

    written = {event.object for event in trace.events if event.call == "write"}
    assert {"file:total", "file:package/total"} <= written
    assert trace.unvaried == ("it writes to files that are not put back between runs",)


@pytest.mark.usefixtures("control")
def test_to_look_at_the_directories_above_is_no_step_and_to_change_them_is_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def looks() -> None:
        here.resolve(strict=True)

    def changes() -> None:
        os.chmod(tmp_path, 0o700)

    looked, changed = run(looks), run(changes)
    paths = [event.object for event in looked.events if event.object.startswith("file:")]
    assert paths == []
    assert f"file:{tmp_path}" in [event.object for event in changed.events]
    assert changed.unvaried == ("it writes to files that are not put back between runs",)
