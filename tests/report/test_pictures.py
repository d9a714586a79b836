"""The pictures that the README shows are those that the lab makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cli import main

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"


@pytest.mark.usefixtures("control")
def test_the_pictures_in_the_documentation_are_up_to_date(tmp_path: Path) -> None:
    committed = {path.stem: path.read_text() for path in PICTURES.glob("*.svg")}
    assert committed
    assert main(["gallery", str(tmp_path), *committed, "--schedules", "1"]) == 0
    made = {name: (tmp_path / "pictures" / f"{name}.svg").read_text() for name in committed}
    assert made == committed, "make them anew, as docs/how-to/show-a-race.md says"
