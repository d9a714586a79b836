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


FORMS = ("json", "junit", "sarif", "markdown")


def in_each_form(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str]:
    """Run a command before its `--`, with all forms; gives its status and what GitHub reads."""
    verb, *rest = command
    files = [word for form in FORMS for word in (f"--{form}", f"out.{form}")]
    status = main([verb, *files, "--github", *rest])
    said = capsys.readouterr()
    return status, "\n".join(
        line.split()[0] for line in (said.out + said.err).splitlines() if line.startswith("::")
    )


@pytest.mark.parametrize("verb", ["exec", "explore", "check", "report"])
def test_what_is_known_is_a_failure_in_no_form_of_any_command(
    verb: str,
    shown: list[Finding],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    shown.append(ZOMBIE)
    baseline = ["--baseline", "known.json"]
    failing = ["--", sys.executable, "-c", "raise SystemExit(3)"]
    exploring = ["counter.posix_unguarded", "--no-save", "--stop-at-first", "--shrink", "0"]
    command = {
        "exec": ["exec", *baseline, *failing],
        "explore": ["explore", *baseline, *exploring],
        "check": ["check", *baseline, GUARDED, "--observed"],
        "report": ["report", *baseline, "saved.json"],
    }[verb]
    main(["exec", "--json", "saved.json", *failing])
    assert main([command[0], "--update-baseline", *command[1:]]) == 0
    capsys.readouterr()

    status, marks = in_each_form(capsys, *command)

    assert status == 0
    assert "::notice" in marks
    assert "::error" not in marks
    assert "<skipped message=" in Path("out.junit").read_text()
    assert "<failure" not in Path("out.junit").read_text()
    results = json.loads(Path("out.sarif").read_text())["runs"][0]["results"]
    assert {(each["level"], each["baselineState"]) for each in results} == {("note", "unchanged")}
    assert Path("out.markdown").read_text().startswith("## race-lab: 1 known, of 1\n")
    saved = json.loads(Path("out.json").read_text())
    assert saved["gone"] == []
    assert all(each["known"] for each in saved["results"][0]["findings"])

    Path("known.json").write_text('{"format": 1, "known": []}')
    status, marks = in_each_form(capsys, *command)

    assert status == 1
    assert "::error" in marks
    assert "<failure" in Path("out.junit").read_text()
    assert not any(
        each["known"] for each in json.loads(Path("out.json").read_text())["results"][0]["findings"]
    )


def test_a_saved_report_is_held_against_a_baseline_later(
    shown: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    shown.append(ZOMBIE)
    assert check("--json", "saved.json") == 1
    assert main(["report", "saved.json", "--baseline", "known.json", "--update-baseline"]) == 0
    capsys.readouterr()

    assert main(["report", "saved.json", "--baseline", "known.json", "--json", "-"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["differences"], result["findings"][0]["known"]) == ([], True)
    assert main(["report", "saved.json"]) == 0
    assert "expected no finding; seen zombie of P1" in capsys.readouterr().out


def test_nothing_is_known_of_a_scenario_that_is_not_there_and_a_stopped_report_is_no_pass(
    shown: list[Finding],
) -> None:
    shown.append(ZOMBIE)
    check("--json", "saved.json")
    main(["report", "saved.json", "--baseline", "known.json", "--update-baseline"])
    saved = json.loads(Path("saved.json").read_text())
    Path("saved.json").write_text(json.dumps(saved | {"stopped": "Ctrl-C"}))
    assert main(["report", "saved.json", "--baseline", "known.json"]) == 3
    saved["results"][0]["scenario"] = "counter.unheard_of"
    Path("saved.json").write_text(json.dumps(saved))
    assert main(["report", "saved.json", "--baseline", "known.json"]) == 1


def test_a_command_can_be_known_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["--", sys.executable, "-c", "raise SystemExit(3)"]
    gate = ["exec", "--baseline", "known.json"]

    assert main([*gate, "--update-baseline", *command]) == 0
    capsys.readouterr()
    assert main([*gate, *command]) == 0
    assert "known: crash exit status 3 of P0 in" in capsys.readouterr().err
    assert main([*gate, "--", sys.executable, "-c", "raise SystemExit(4)"]) == 1
    assert "new: crash exit status 4" in capsys.readouterr().err
