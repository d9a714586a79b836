"""What `lab doctor` finds out by trying, where the kernel refuses it and where it does not."""

from __future__ import annotations

import errno

import pytest

from lab.kernel import tracing
from lab.run.capabilities import Capability, survey


def found() -> dict[str, Capability]:
    return {capability.name: capability for capability in survey()}


def test_what_is_missing_comes_with_a_remedy() -> None:
    assert all(bool(it.remedy) != it.available for it in found().values())


@pytest.mark.parametrize("call", [tracing.PTRACE, tracing.DESCRIPTORS, tracing.COMPARISON])
def test_each_call_that_control_needs_is_tried(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    refused = PermissionError(errno.EPERM, "refused")
    monkeypatch.setattr(tracing, "refusals", lambda _: {call: refused})

    capability = found()[call]

    assert not capability.available
    assert capability.remedy == tracing.remedy(call, refused)
