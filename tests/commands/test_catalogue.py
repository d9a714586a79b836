"""`lab catalogue`: pages are written where they differ, or told to be out of date."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lab.cli import main
from lab.exhibition import Renew, with_reports
from lab.report.pages import Family
from lab.run.limits import LabError


@pytest.fixture(autouse=True)
def reports(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the lab sees in every scenario, without a run; a test may change it."""
    seen = {"text": "as it was"}

    def canned(family: Family, _renew: Renew | None) -> Family:
        exhibits = tuple(
            dataclasses.replace(
                each,
                reports=dict.fromkeys((member.id for member in each.case.members), seen["text"]),
            )
            for each in family.exhibits
        )
        return dataclasses.replace(family, exhibits=exhibits)

    monkeypatch.setattr("lab.commands.catalogue.with_reports", canned)
    return seen


def test_pages_of_what_is_asked_for_are_written_and_always_the_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "docs" / "catalogue"
    assert main(["catalogue", "fifo", "pipe", "--to", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {"README.md", "fifo.md", "pipe.md"}
    assert capsys.readouterr().out == f"Written in {folder}: README.md, fifo.md, pipe.md.\n"
    assert "as it was" in (folder / "fifo.md").read_text()


def test_a_page_that_holds_is_not_written_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["catalogue", "fifo", "--to", str(tmp_path)])
    before = (tmp_path / "fifo.md").stat().st_mtime_ns
    capsys.readouterr()

    assert main(["catalogue", "fifo", "--to", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"Every page in {tmp_path} is up to date.\n"
    assert (tmp_path / "fifo.md").stat().st_mtime_ns == before


def test_a_page_that_is_out_of_date_is_told_and_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reports: dict[str, str]
) -> None:
    main(["catalogue", "fifo", "--to", str(tmp_path)])
    assert main(["catalogue", "fifo", "--check", "--to", str(tmp_path)]) == 0
    reports["text"] = "as it is today"
    capsys.readouterr()

    assert main(["catalogue", "fifo", "--check", "--to", str(tmp_path)]) == 1
    assert f"Out of date in {tmp_path}: fifo.md." in capsys.readouterr().out
    assert "as it was" in (tmp_path / "fifo.md").read_text()


def test_a_run_that_leads_elsewhere_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def astray(_: Family, renew: Renew | None) -> Family:
        assert renew is not None
        raise LabError("fifo.json: the replay went another way")

    monkeypatch.setattr("lab.commands.catalogue.with_reports", astray)
    assert main(["catalogue", "fifo", "--to", str(tmp_path)]) == 3
    assert "went another way" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("control")
def test_a_schedule_that_is_missing_is_saved_on_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "scenarios" / "schedules"
    for user in ("lab.exhibition", "lab.commands.saving", "lab.commands.checking"):
        monkeypatch.setattr(f"{user}.saved_schedules", lambda: saved)
    monkeypatch.setattr("lab.commands.catalogue.with_reports", with_reports)

    assert main(["catalogue", "fifo", "--check", "--to", str(tmp_path)]) == 3
    assert "has no saved schedule; make it anew: lab check --save fifo." in capsys.readouterr().err
    assert not saved.exists()

    assert main(["catalogue", "fifo", "--to", str(tmp_path)]) == 0
    assert "✓ saved   fifo.opposite_order" in capsys.readouterr().out
    assert len(list(saved.iterdir())) == 4
    assert main(["catalogue", "fifo", "--check", "--to", str(tmp_path)]) == 0
