"""`lab show` and `lab list`: the catalogue to be read."""

from __future__ import annotations

import json

import pytest

from lab.cli import main

BUG, FIX, OTHER = "semaphore.holder_killed", "semaphore.lock_on_a_file", "semaphore.same_order"


def test_a_bug_is_shown_with_all_its_fixes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", BUG]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"✗ BUG  {BUG} ")
    assert out.splitlines()[0].endswith("shows hang")
    assert f"✓ FIX  {FIX}" in out
    assert "✓ FIX  semaphore.undone_by_the_kernel" in out
    assert f"lab compare {BUG} {FIX}" in out
    assert OTHER not in out


def test_a_fix_is_shown_with_its_bug_and_no_other_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", FIX]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"✗ BUG  {BUG} ")
    assert f"✓ FIX  {FIX}" in out
    assert "undone_by_the_kernel" not in out
    assert "\n-def holder_killed(" in out
    assert "\n+def lock_on_a_file(" in out


def test_a_family_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "semaphore"]) == 0
    out = capsys.readouterr().out
    assert f"✗ BUG  {BUG} " in out
    assert f"✓ FIX  {OTHER}" in out


def test_the_document_holds_explanations_and_differences(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["show", FIX, "--json", "-"]) == 0
    (case,) = json.loads(capsys.readouterr().out)
    assert case["bug"]["id"] == BUG
    (fix,) = case["fixes"]
    assert fix["id"] == FIX
    assert fix["explanation"].startswith(fix["summary"])
    assert any(line.startswith("+def lock_on_a_file") for line in fix["lines"])
    assert "_start" in fix["shared"]


def test_what_is_not_there_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "semaphore.holder_kiled"]) == 2
    assert f"nearest: {BUG}" in capsys.readouterr().err


def test_the_list_tells_of_each_family_what_it_is_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heading = lines.index("fifo  Named pipes: a reader and a writer who have to meet.")
    assert lines[heading + 1].split() == ["✗", "writer_without_reader", "hang"]
    assert lines[heading + 2].split() == [
        "✓",
        "open_with_deadline",
        "fixes",
        lines[heading + 1].split()[1],
    ]
    assert all(len(line) <= 80 for line in lines)
