"""What the commands do with the results of runs: a faked run layer answers what a test wants."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import lab
from lab.catalogue import select
from lab.cli import main
from lab.commands.running import exit_status
from lab.finding import Verdict
from lab.run.limits import LabError
from lab.trace import Ending, Process, SharedObject, Tally, Trace
from lab.trace import ObjectType as Object

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RACY, GUARDED = "counter.posix_unguarded", "counter.posix_guarded"


def trace(tally: Tally | None = None, *, leak: str = "") -> Trace:
    root = Process("P0", 2, "", "root", 0.0, ended=0.1, reaped=0.1, status=0)
    child = Process("P1", 3, "P0", "child", 0.0, ended=0.1, reaped=0.1, status=0)
    objects = [SharedObject(Object.POSIX_SHM, "/lab-counter", used_by=("P0", "P1"))]
    if leak:
        objects.append(SharedObject(Object.POSIX_MQ, leak, made_by="P0", left=True))
    return Trace(
        scenario="any",
        mode="observed",
        ending=Ending.COMPLETED,
        seconds=0.1,
        processes=(root, child),
        objects=tuple(objects),
        tally=tally,
        processes_started=2,
        isolation="namespaces",
    )


Answer = Trace | BaseException
Runs = dict[str, list[Any]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Runs]:
    """Have each run answered by the next of the given traces, or raise what is no trace."""

    def install(*given: Answer) -> Runs:
        waiting = list(given)
        seen: Runs = {"names": [], "limits": [], "isolation": [], "arguments": []}

        def observe_body(
            name: str, body: Any, *, server: str, limits: Any, isolation: Any
        ) -> Trace:
            assert server == ""  # no scenario here needs one
            seen["names"].append(name)
            seen["limits"].append(limits)
            seen["isolation"].append(isolation)
            seen["arguments"].append(body.keywords)
            answer = waiting.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr("lab.run.observe.observe_body", observe_body)
        return seen

    return install


GOOD, LOST = Tally(15, 15), Tally(15, 9)


def test_a_finding_exits_1_and_is_told(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(trace(LOST), trace(GOOD))
    assert main(["run", RACY, "--runs", "2"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("✗ LOST UPDATE  counter.posix_unguarded")
    assert "failed, 1 of 2 runs" in out


def test_no_finding_exits_0(answers: Callable[..., Runs]) -> None:
    answers(trace(GOOD))
    assert main(["run", GUARDED, "--runs", "1"]) == 0


def test_settings_and_limits_reach_the_run(answers: Callable[..., Runs]) -> None:
    seen = answers(trace(GOOD))
    options = ["--runs", "1", "--time-limit", "2.5", "--isolation", "snapshots", "-p", "writers=2"]
    main(["run", GUARDED, *options])
    assert seen["names"] == [GUARDED]
    assert seen["limits"][0].seconds == 2.5
    assert seen["isolation"] == ["snapshots"]
    assert seen["arguments"][0].items() >= {"writers": 2, "increments": 5}.items()


def test_a_setting_concerns_those_scenarios_that_have_it(answers: Callable[..., Runs]) -> None:
    seen = answers(trace(GOOD), trace())
    main(["run", GUARDED, "fifo.unlinked", "--runs", "1", "-p", "writers=2"])
    assert [arguments.get("writers") for arguments in seen["arguments"]] == [2, None]


def test_json_on_stdout_sends_the_text_to_stderr(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(trace(LOST))
    main(["run", RACY, "--runs", "1", "--json", "-"])
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["format"] == 1
    assert document["lab"] == lab.__version__
    assert document["results"][0]["verdict"] == "failed"
    assert document["results"][0]["findings"][0]["kind"] == "lost-update"
    assert "LOST UPDATE" in captured.err


def test_json_goes_to_a_file_beside_the_text(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers(trace(GOOD))
    path = tmp_path / "result.json"
    main(["run", GUARDED, "--runs", "1", "--json", str(path)])
    assert json.loads(path.read_text())["results"][0]["verdict"] == "passed"
    assert "PASSED" in capsys.readouterr().out


def test_ctrl_c_shows_what_was_found_so_far(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers(trace(LOST), trace(LOST), KeyboardInterrupt())
    path = tmp_path / "result.json"
    assert main(["run", RACY, "--runs", "9", "--json", str(path)]) == 130
    out = capsys.readouterr().out
    assert "failed, 2 of 2 runs" in out
    assert "stopped by Ctrl-C after 2 of 9 runs" in out
    document = json.loads(path.read_text())
    assert document["stopped"] == "Ctrl-C"
    assert document["results"][0]["runs"] == 2


def test_ctrl_c_in_the_first_run_shows_nothing_and_no_traceback(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(KeyboardInterrupt())
    assert main(["run", RACY]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_refusal_of_the_machine_exits_3_with_what_to_do(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers(LabError("namespaces were refused; use --isolation snapshots"))
    path = tmp_path / "result.json"
    assert main(["run", RACY, "--json", str(path)]) == 3
    assert capsys.readouterr().err == "lab: namespaces were refused; use --isolation snapshots\n"
    assert json.loads(path.read_text())["stopped"].startswith("namespaces were refused")


def test_a_terminal_sees_which_run_it_is_and_then_no_more_of_it(
    answers: Callable[..., Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")  # no bar
    answers(trace(GOOD), trace(GOOD))
    main(["run", GUARDED, "--runs", "2"])
    erase = "\r\x1b[K"
    assert terminal.getvalue() == (
        f"{erase}{GUARDED}: run 1 of 2{erase}{GUARDED}: run 2 of 2{erase}"
    )


def test_a_scenario_whose_needs_are_missing_is_undecided_and_not_run(
    answers: Callable[..., Runs],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lab.commands.running.missing", lambda _: ("redis",))
    seen = answers()
    assert main(["run", GUARDED]) == 3
    assert seen["names"] == []
    out = " ".join(capsys.readouterr().out.split())
    assert "? ERROR counter.posix_guarded undecided it needs redis, which this machine lacks" in out


def test_check_exits_0_when_bug_and_fix_are_as_declared(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(trace(LOST), trace(GOOD))
    assert main(["check", RACY, GUARDED, "--observed", "--runs", "1"]) == 0
    out = capsys.readouterr().out
    assert "✓ ok      bug  counter.posix_unguarded" in out
    assert out.endswith("2 scenarios checked: every one as declared.\n")


def test_check_exits_1_with_a_line_for_each_difference(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers(trace(GOOD), trace(LOST, leak="/jobs"))
    path = tmp_path / "check.json"
    assert main(["check", RACY, GUARDED, "--observed", "--runs", "1", "--json", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "Look closer" in line]
    assert len(told) == 3
    assert told[0].startswith(f"{RACY}: expected lost-update; seen no finding")
    assert lines[-1] == "2 scenarios checked: 2 not as declared."
    results = json.loads(path.read_text())["results"]
    assert [len(result["differences"]) for result in results] == [1, 2]


def test_check_exits_3_when_nothing_was_decided(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Trace("any", "observed", Ending.BROKEN, 0.1, (), trouble="the sandbox broke")
    answers(broken)
    assert main(["check", GUARDED, "--observed", "--runs", "1"]) == 3
    assert "the sandbox broke" in capsys.readouterr().out


def test_check_tells_its_differences_after_ctrl_c(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(trace(GOOD), KeyboardInterrupt())
    assert main(["check", RACY, GUARDED, "--observed", "--runs", "1"]) == 130
    out = capsys.readouterr().out
    assert f"{RACY}: expected lost-update" in out
    assert "1 of 2 scenarios checked" in out


def test_demo_shows_bug_and_fix_and_then_the_table(
    answers: Callable[..., Runs],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lab.catalogue import select

    monkeypatch.setattr("lab.commands.demo.catalogue", lambda: select([RACY, GUARDED]))
    answers(trace(LOST), trace(GOOD))
    assert main(["demo", "--runs", "1"]) == 0
    out = capsys.readouterr().out
    assert "runs each once" in out
    assert "BUG posix_unguarded                    │ FIX posix_guarded" in out
    assert "✗ LOST UPDATE               1 of 1 run │ ✓ no finding                     1 run" in out
    assert "1 of 1 bug caught, 1 of 1 fixes held" in out
    assert "lab run counter.posix_unguarded" in out


def test_a_demo_runs_a_bug_until_it_has_shown_itself(
    answers: Callable[..., Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug, fix = select([RACY]), select([GUARDED])
    monkeypatch.setattr("lab.commands.demo.catalogue", lambda: (*bug, *fix))
    good, bad = trace(Tally(15, 15)), trace(Tally(15, 12))
    seen = answers(good, bad, good, good, good)

    assert main(["demo", "--runs", "3"]) == 0

    assert seen["names"] == [RACY] * 2 + [GUARDED] * 3


def test_a_demo_that_is_stopped_shows_half_a_case(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(trace(LOST), KeyboardInterrupt())
    assert main(["demo", "--runs", "1"]) == 130
    out = capsys.readouterr().out
    assert "✗ LOST UPDATE" in out
    assert "1 of 1 bug caught" in out


def test_what_is_known_to_be_wrong_outweighs_what_is_not_known() -> None:
    assert exit_status([Verdict.ERROR, Verdict.FAILED, Verdict.PASSED]) == 1
    assert exit_status([Verdict.PASSED, Verdict.VACUOUS]) == 3
    assert exit_status([Verdict.PASSED, Verdict.PROVED]) == 0
