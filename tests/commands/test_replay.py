"""`lab replay FILE`: what failed in one place is brought home to another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BANK = """
import os
import tempfile


def main():
    with tempfile.NamedTemporaryFile("w", delete=False) as copy:
        copy.write("0")
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            for name in ("total", copy.name):
                with open(name) as file:
                    total = int(file.read() or 0)
                with open(name, "w") as file:
                    file.write(str(total + 10))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    os.unlink(copy.name)
    with open("total", "w") as file:
        file.write("0")
"""


@pytest.fixture
def checkouts(tmp_path: Path) -> tuple[Path, Path]:
    """Two of one project; nothing that a run finds there differs."""
    for place in ("ci", "home/deeper"):
        checkout = tmp_path / place
        checkout.mkdir(parents=True)
        (checkout / "bank.py").write_text(BANK)
        (checkout / "total").write_text("0")
    return tmp_path / "ci", tmp_path / "home/deeper"


def lab(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", *command],
        cwd=folder,
        env={"PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("control")
def test_a_report_is_replayed_in_another_checkout_and_environment(
    checkouts: tuple[Path, Path], tmp_path: Path
) -> None:
    ci, home = checkouts
    found = lab(
        ci,
        *("explore", "bank:main", "--no-save", "--stop-at-first", "--json", "races.json"),
        HOME=str(ci),
        PATH="/usr/bin:/bin",
    )
    assert found.returncode == 1, found.stderr
    (result,) = json.loads((ci / "races.json").read_text())["results"]
    objects = {finding["object"] for finding in result["findings"]}
    assert "file:total" in objects
    shutil.copy(ci / "races.json", home)
    (tmp_path / "scratch").mkdir()

    again = lab(
        home,
        *("replay", "races.json"),
        HOME="/nonexistent",
        PATH=f"/nonexistent:{os.environ['PATH']}",
        TMPDIR=str(tmp_path / "scratch"),
        LANG="C",
        SIZE="x" * 20_000,
    )

    assert again.returncode == 1, again.stdout
    assert "LOST UPDATE  bank:main" in again.stdout
    assert "failed, 1 of 1 run" in again.stdout


@pytest.mark.usefixtures("control")
def test_what_is_not_there_is_told_in_a_line(checkouts: tuple[Path, Path], tmp_path: Path) -> None:
    ci, _ = checkouts
    script = ci / "leaves.sh"
    script.write_text("#!/bin/sh\nipcmk -Q > /dev/null & wait\n")
    script.chmod(0o755)
    report = str(tmp_path / "races.json")
    explored = ("--explore", "3", "--no-save", "--stop-at-first", "--shrink", "0")
    found = lab(ci, "exec", *explored, "--json", report, "--", str(script))
    assert found.returncode == 1, found.stderr
    script.unlink()

    again = lab(tmp_path, "replay", report)

    assert again.returncode == 2
    assert f"there is no program '{script}'" in again.stderr
    assert again.stderr.count("\n") == 1
