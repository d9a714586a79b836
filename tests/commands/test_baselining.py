"""`--baseline`: known findings pass the gate, new ones do not, and what is gone is named."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.cli import main
from lab.finding import Finding, Kind, Result, Verdict
from lab.scenario import Scenario

GUARDED = "counter.posix_guarded"
ZOMBIE = Finding(Kind.ZOMBIE, "P1", "Nobody waits for it.")
LEAK = Finding(Kind.LEAK, "/jobs-1234", "It was left.", "posix-shm")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Finding]:
    """What the free runs of every scenario show."""
    findings: list[Finding] = []

    def observed(scenario: Scenario, *_: Any) -> Iterator[Result]:
        verdict = Verdict.FAILED if findings else Verdict.PASSED
        found = tuple(findings)
        yield Result(scenario.id, "observed", verdict, 1, 0.1, found, (1,) * len(found))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lab.commands.checking.observed", observed)
    return findings


def check(*options: str) -> int:
    return main(["check", GUARDED, "--observed", *options])


def test_known_findings_pass_and_a_new_one_fails(
    shown: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    shown.append(ZOMBIE)
    assert check() == 1
    assert check("--baseline", "known.json", "--update-baseline") == 0
    assert "known.json: 1 known finding written." in capsys.readouterr().out

    assert check("--baseline", "known.json") == 0
    assert f"Note: {GUARDED}: known: zombie of P1 in 1 of 1 run" in capsys.readouterr().out

    shown.append(LEAK)
    assert check("--baseline", "known.json") == 1
    told = capsys.readouterr().out
    assert f"new: leak posix-shm of /jobs-1234 in {GUARDED}" in told
    assert "gone:" not in told


def test_what_is_gone_is_named_until_the_baseline_is_updated(
    shown: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    shown.append(ZOMBIE)
    check("--baseline", "known.json", "--update-baseline")
    shown.clear()
    capsys.readouterr()

    assert check("--baseline", "known.json") == 0
    told = capsys.readouterr().out
    assert f"gone: zombie of P1 in {GUARDED}" in told
    assert "1 known finding not seen this time" in told

    assert check("--baseline", "known.json", "--update-baseline") == 0
    assert json.loads(Path("known.json").read_text())["known"] == []


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--update-baseline"], "--update-baseline: say which, with --baseline FILE"),
        (["--baseline", "missing.json"], "there is no missing.json; add --update-baseline to make"),
        (["--baseline", "."], "--baseline .: Is a directory"),
    ],
)
def test_a_baseline_that_cannot_be_had_is_told_before_the_runs(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*options) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_command_can_be_known_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["--", sys.executable, "-c", "raise SystemExit(3)"]
    gate = ["exec", "--baseline", "known.json"]

    assert main([*gate, "--update-baseline", *command]) == 0
    assert main([*gate, *command]) == 0
    assert main([*gate, "--", sys.executable, "-c", "raise SystemExit(4)"]) == 1
    assert "new: crash exit status 4" in capsys.readouterr().err
