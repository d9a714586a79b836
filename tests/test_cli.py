"""The command line as its users meet it: what it answers, where, and with which exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lab

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        (["zzzzz"], "there is no command 'zzzzz'; there are: demo, list, show"),
        (["run", "counter.posix_ungarded"], "nearest: counter.posix_unguarded"),
        (["check", "conter"], "nearest: counter"),
        (["run", RACY, "-p", "writer=3"], "no parameter of counter.posix_unguarded"),
        (["run", RACY, "-p", "writer=3"], "nearest: writers"),
        (["run", RACY, "-p", "writers"], "write it as NAME=VALUE"),
        (["run", RACY, "-p", "writers=three"], "writers takes a whole number"),
        (["run", RACY, "-p", "window=nan"], "window takes a number"),
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
        (["exec", "true"], "it does not take true; a command to run goes after --"),
        (["exec", "--seed", "3", "--", "true"], "--seed is for runs under control; say how many"),
        (["exec", "--no-save", "--", "true"], "--no-save is for runs under control"),
        (["gallery"], "the following arguments are required: DIR\n"),
        (["list", "counter"], "lab list: it does not take counter"),
        (["run", RACY, "--rnus", "3"], "lab run: it does not take --rnus"),
        (["run", RACY, "--json", ""], "the name is empty"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_question_without_sense_is_answered_with_what_would_make_sense(
    arguments: list[str], answer: str
) -> None:
    done = run_lab(*arguments)
    assert done.returncode == 2
    assert answer in done.stderr
    assert 1 <= len(done.stderr.splitlines()) <= 2
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
    assert "lab.grammar" in imported
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


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("list --json -", 0, "posix_unguarded"),
        ("replay 1", 2, "'1' is not whole"),  # it starts a second time
    ],
)
def test_a_closed_stdout_spoils_nothing(command: str, status: int, said: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m lab {command} >&-', sys.executable],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_where_nothing_can_be_said_the_status_tells(unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lab", "exec", "--", "sh", "-c", "true & wait"],
            env=ENVIRONMENT | {"PYTHONUNBUFFERED": unbuffered},
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
        )
    assert (done.returncode, done.stdout) == (3, b"")


def refusal(change: str) -> str:
    """The line that `lab run` says when it cannot, in an interpreter that was changed first."""
    program = (
        f"import sys; {change}; from lab.cli import main; "
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
    (line,) = done.stderr.splitlines()
    return line


def test_a_checkout_that_was_not_installed_says_so() -> None:
    said = refusal("sys.modules['psutil'] = None")
    assert said.startswith("lab: psutil is not installed for ")


@pytest.mark.parametrize("options", [[], ["--json", "-"]])
def test_an_output_that_is_full_is_no_verdict(options: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lab", "list", *options],
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        "lab: the output could not be written: No space left on device; the verdicts are lost"
    )
    assert "Traceback" not in done.stderr


def test_another_system_is_told_what_is_missing() -> None:
    said = refusal("sys.platform = 'darwin'")
    assert said.startswith("lab: the lab runs on Linux only and this is darwin")


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
