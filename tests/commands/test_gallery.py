"""`lab gallery` and `--html`: what is written, and where it cannot be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.catalogue import cases, select
from lab.cli import main
from lab.commands.gallery import unlike
from lab.finding import Result, Verdict
from lab.report.story import Led, Story


@pytest.mark.usefixtures("control")
def test_a_bug_has_a_page_with_its_fix_and_two_pictures_and_the_index_leads_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "site"
    assert main(["gallery", str(folder), "pipe.wait_then_read", "--schedules", "1"]) == 0
    assert capsys.readouterr().out.startswith(f"{folder}/index.html: 1 bug with 1 fix")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "index.html",
        "pipe.wait_then_read.html",
        "pictures/pipe.wait_then_read.svg",
        "pictures/pipe.wait_then_read.small.svg",
    }
    index = (folder / "index.html").read_text()
    for link in re.findall(r'(?:href|src)="([^"#]+)"', index):
        assert link in files
    page = (folder / "pipe.wait_then_read.html").read_text()
    assert "pipe.read_then_wait" in page
    assert 'href="index.html"' in page


def test_a_bug_that_is_not_caught_and_a_fix_that_does_not_hold_are_told() -> None:
    (case,) = cases(select(["pipe.wait_then_read", "pipe.read_then_wait"]))
    bug = Result("pipe.wait_then_read", "controlled", Verdict.PASSED, 20, 1.0, reason="none")
    fix = Result("pipe.read_then_wait", "controlled", Verdict.ERROR, 1, 1.0, reason="it is late")
    assert list(unlike(case, Story(bug, led=(Led(fix, (), ()),)))) == [
        "pipe.wait_then_read: deadlock was not seen in 20 runs: none",
        "pipe.read_then_wait: error on the schedule of its bug",
    ]


@pytest.mark.usefixtures("control")
def test_any_command_that_runs_something_writes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "pipe.wait_then_read", "--schedules", "1", "--html", "a.html"]) == 1
    assert "deadlock" in (tmp_path / "a.html").read_text()
    # The source lines are in it, from wherever the scenarios lie.
    assert "os.fork()" in (tmp_path / "a.html").read_text()


def test_what_this_machine_lacks_is_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.commands.gallery.missing", lambda _: ("a server",))
    assert main(["gallery", str(tmp_path), "redis_counter"]) == 3  # nothing is left
    told = capsys.readouterr().out
    assert "0 bugs" in told
    assert "skipped: 1 bug, for want of a server" in told


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gallery", "{file}"], "give a directory"),
        (["gallery", "{file}/below"], "give a directory"),
        (["run", "signal", "--html", "{folder}"], "that is a directory"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    (tmp_path / "file").touch()
    words = [word.format(file=tmp_path / "file", folder=tmp_path) for word in arguments]
    assert main(words) == 2
    assert complaint in capsys.readouterr().err
