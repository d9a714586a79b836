"""`lab report`, and the options for forms: one saved file, and any form of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cli import main
from lab.report.formats import FORMATS
from lab.report.json import render
from lab.report.story import Report
from tests.report.samples import ALL, DIFFERS, FAILED


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A report in a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "lab.json").write_text(render(ALL))
    return "lab.json"


def test_what_was_saved_is_shown_as_the_command_showed_it(
    saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", saved]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("✗ LOST UPDATE  counter.unguarded")
    assert "counter.guarded: expected lost-update; seen no finding" in shown


def test_every_form_is_made_of_one_file(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [word for form in FORMATS for word in (f"--{form}", f"new.{form}")]
    assert main(["report", saved, *options]) == 0
    assert capsys.readouterr().out == ""
    assert all(Path(f"new.{form}").stat().st_size > 100 for form in FORMATS)
    assert Path("new.json").read_text() == Path(saved).read_text()


def test_one_form_may_go_to_stdout(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", saved, "--junit", "-"]) == 0
    assert capsys.readouterr().out.startswith("<?xml")
    assert main(["report", saved, "--junit", "-", "--sarif", "-"]) == 2
    assert "only one of them can go to stdout" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "none.json: No such file"),
        (b"\xff", "it is no text"),
        (b"{", "it is no JSON"),
        (b'{"format": 1, "results": [{}]}', "results[0].scenario is missing"),
    ],
)
def test_what_is_no_report_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, complaint: str
) -> None:
    file = tmp_path / "none.json"
    if content is not None:
        file.write_bytes(content)
    assert main(["report", str(file)]) == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert told.count("\n") == 1


def test_github_reads_annotations_and_nothing_else(
    saved: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(saved).write_text(render(Report((FAILED, DIFFERS))))
    Path("summary").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary")
    assert main(["report", saved, "--github"]) == 0
    pause, resume, *marks, pause_again = capsys.readouterr().out.splitlines()
    assert pause == pause_again
    assert pause.startswith("::stop-commands::")
    assert resume == f"::{pause.rpartition('::')[2]}::"
    assert [mark.split(",")[0] for mark in marks] == ["::error file=scenarios/counter.py"] * 2
    assert Path("summary").read_text().startswith("before\n## race-lab: 2 failed, of 2\n")


@pytest.mark.usefixtures("saved")
def test_a_command_that_judges_writes_the_forms_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "signal.waitpid", "--runs", "1", "--junit", "a.xml"]) == 0
    assert 'classname="signal" name="waitpid [observed]"' in Path("a.xml").read_text()
    assert main(["run", "signal.waitpid", "--sarif", "no/such/a.json"]) == 2
    assert "--sarif no/such/a.json: there is no directory" in capsys.readouterr().err
