"""What the tests of the guard's parts share: its parts, at work in the process of the tests."""

from __future__ import annotations

import pytest

from lab.guard import births as recorder
from lab.guard.births import Births


@pytest.fixture
def births(monkeypatch: pytest.MonkeyPatch) -> Births:
    """One that records; what a guard of this very session records in is put back."""
    monkeypatch.setattr(recorder, "_recording", None)
    recording = Births()
    recording.start()
    return recording
