"""The command line as its users meet it: what it answers, where, and with which exit status."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lab
from lab.cli import main
from lab.commands.running import exit_status
from lab.finding import Verdict
from lab.run.limits import LabError
from lab.trace import Ending, Process, SharedObject, Tally, Trace
from lab.trace import ObjectType as Object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The very lab that these tests import, wherever the command runs and whatever is installed.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(lab.__file__).parents[1]),
    "PYTHONSAFEPATH": "1",
    "PYTHONIOENCODING": "utf-8",
}
RACY, GUARDED = "counter.posix_unguarded", "counter.posix_guarded"


def run_lab(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        env=ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# --- Questions that make no sense ----------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["rnu"], "there is no command 'rnu'; nearest: run"),
        (["zzzzz"], "there is no command 'zzzzz'; there are: demo, list, run"),
        (["run", "counter.posix_ungarded"], "nearest: counter.posix_unguarded"),
        (["check", "conter"], "nearest: counter"),
        (["run", RACY, "-p", "writer=3"], "no parameter of counter.posix_unguarded"),
        (["run", RACY, "-p", "writer=3"], "nearest: writers"),
        (["run", RACY, "-p", "writers"], "write it as NAME=VALUE"),
        (["run", RACY, "-p", "writers=three"], "writers takes a whole number"),
        (["run", RACY, "--runs", "0"], "'0' is no number of runs; give 1 or more"),
        (["run", RACY, "--runs", "many"], "'many' is no number of runs"),
        (["run", RACY, "--time-limit", "-1"], "'-1' is no time; give seconds"),
        (["run", RACY, "--time-limit", "nan"], "'nan' is no time"),
        (["run", RACY, "--isolation", "none"], "invalid choice: 'none'"),
        (["run", RACY, "--json", "/no/such/place/x.json"], "there is no directory /no/such/place"),
        (["run", RACY, "--json", "/"], "that is a directory"),
        (["run"], "the following arguments are required: ID"),
        (["list", "--", "x"], "nothing may follow --"),
        (["exec"], "lab exec needs a command after --"),
        (["exec", "--"], "lab exec needs a command after --"),
        (["exec", "--", "no-such-program-here"], "there is no program 'no-such-program-here'"),
        (["exec", "true"], "unrecognized arguments: true"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_question_without_sense_is_answered_with_what_would_make_sense(
    arguments: list[str], answer: str
) -> None:
    done = run_lab(*arguments)
    assert done.returncode == 2
    assert answer in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_unknown_name_cannot_drive_the_terminal() -> None:
    done = run_lab("run", "\x1b[2J")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr


# --- What needs no run ---------------------------------------------------------------------


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lab", "--help"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "lab.cli" in imported
    heavy = {"psutil", "pytest", "posix_ipc", "sysv_ipc", "multiprocessing", "scenarios", "json"}
    assert imported & heavy == set()
    assert "start here" in done.stdout


def test_version_is_the_packages() -> None:
    assert run_lab("--version").stdout == f"lab {lab.__version__}\n"


def test_the_list_shows_each_bug_with_its_fixes() -> None:
    lines = [line.split() for line in run_lab("list").stdout.splitlines()]
    at = lines.index(["✗", "signal.never_waited".partition(".")[2], "zombie"])
    assert lines[at + 1] == ["✓", "waitpid", "fixes", "never_waited"]


def test_the_verbose_list_shows_parameters_with_type_and_default() -> None:
    text = " ".join(run_lab("list", "-v").stdout.split())
    assert "parameters: writers=3 (int), increments=5 (int), window=0.0" in text
    assert "Increments of a counter in POSIX shared memory get lost." in text


def test_the_list_as_json_leaves_stdout_to_the_json() -> None:
    done = run_lab("list", "--json", "-")
    listed = {entry["id"]: entry for entry in json.loads(done.stdout)}
    assert listed[GUARDED]["role"] == "fix"
    assert listed[GUARDED]["fixes"] == RACY
    assert listed[GUARDED]["expects"] == []
    assert listed[RACY]["expects"] == ["lost-update"]
    assert listed[RACY]["parameters"].items() >= {"writers": 3, "increments": 5}.items()
    assert {"family", "needs"} <= listed[RACY].keys()
    assert "posix_unguarded" in done.stderr


def test_a_terminal_without_unicode_gets_ascii() -> None:
    done = run_lab("list", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "x posix_unguarded" in done.stdout


def test_a_reader_that_goes_away_ends_the_lab_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "lab", "list"],
            env=ENVIRONMENT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    assert done.returncode == 141


def test_a_closed_stdout_spoils_nothing() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m lab list --json - >&-', sys.executable],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "posix_unguarded" in done.stderr


def test_another_system_is_told_what_is_missing() -> None:
    program = (
        "import sys; sys.platform = 'darwin'; from lab.cli import main; "
        "sys.exit(main(['run', 'counter.posix_unguarded']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("lab: the lab runs on Linux only and this is darwin")
    assert len(done.stderr.splitlines()) == 1


# --- Runs, with a run layer that answers what a test wants ----------------------------------


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

        def observe_body(name: str, body: Any, *, limits: Any, isolation: Any) -> Trace:
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
    assert main(["check", RACY, GUARDED, "--runs", "1"]) == 0
    out = capsys.readouterr().out
    assert "✓ ok       bug  counter.posix_unguarded" in out
    assert out.endswith("2 scenarios checked: every one as declared.\n")


def test_check_exits_1_with_a_line_for_each_difference(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers(trace(GOOD), trace(LOST, leak="/jobs"))
    path = tmp_path / "check.json"
    assert main(["check", RACY, GUARDED, "--runs", "1", "--json", str(path)]) == 1
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
    assert main(["check", GUARDED, "--runs", "1"]) == 3
    assert "the sandbox broke" in capsys.readouterr().out


def test_check_tells_its_differences_after_ctrl_c(
    answers: Callable[..., Runs], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(trace(GOOD), KeyboardInterrupt())
    assert main(["check", RACY, GUARDED, "--runs", "1"]) == 130
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


# --- Real runs -----------------------------------------------------------------------------


def test_doctor_answers_in_text_and_json() -> None:
    done = run_lab("doctor", "--json", "-")
    assert done.returncode == 0
    capabilities = json.loads(done.stdout)["capabilities"]
    assert all(entry["remedy"] for entry in capabilities if not entry["available"])
    assert all(entry["name"] in done.stderr for entry in capabilities)


def test_run_finds_a_lost_update_and_prints_it() -> None:
    done = run_lab("run", "counter.posix_first_write_lost", "--runs", "1", "-p", "window=0")
    assert done.returncode == 1
    assert done.stdout.startswith("✗ LOST UPDATE  counter.posix_first_write_lost")
    assert done.stderr == ""


def test_exec_leaves_stdout_to_the_program() -> None:
    done = run_lab("exec", "--", "sh", "-c", "echo from the program; ipcmk -M 4096 >/dev/null")
    assert done.stdout == "from the program\n"
    assert "✗ LEAK sysv-shm" in done.stderr
    assert done.returncode == 1


def test_exec_of_a_file_without_permission_says_how_to_give_it(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    done = run_lab("exec", "--", str(script))
    assert done.returncode == 2
    assert f"try: chmod +x {script}" in done.stderr


def test_exec_with_json_on_stdout_sends_the_program_to_stderr() -> None:
    done = run_lab("exec", "--json", "-", "--", "sh", "-c", "echo from the program")
    assert json.loads(done.stdout)["results"][0]["scenario"] == "sh -c 'echo from the program'"
    assert "from the program" in done.stderr


def test_exec_gives_the_command_everything_after_the_dashes() -> None:
    done = run_lab("exec", "--", "sh", "-c", 'echo "$@"', "sh", "--json", "--", "-x")
    assert done.stdout == "--json -- -x\n"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children get SIGINT as a terminal would give it to them.

    Tests that run in the background inherit it ignored, and so would everything below them.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_program_and_exits_130() -> None:
    program = "trap '' TERM; echo ready; sleep 1000"
    with subprocess.Popen(
        [sys.executable, "-m", "lab", "exec", "--", "sh", "-c", program],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        # The end of file comes only when every process that held the pipe is gone.
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 130
