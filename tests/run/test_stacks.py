from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.run.stacks import Stacks, told


def frame(filename: str, line: int, name: str) -> dict[str, object]:
    return {"filename": filename, "line": line, "name": name}


def dump(*frames: dict[str, object], thread: str = "MainThread") -> dict[str, object]:
    return {"thread_name": thread, "frames": list(frames)}


LIBRARY = frame("/usr/lib/python3.11/multiprocessing/connection.py", 7, "recv")


def test_the_line_is_the_innermost_of_the_program_itself() -> None:
    threads = [
        dump(LIBRARY, frame("/home/me/jobs.py", 31, "add"), frame("/home/me/jobs.py", 9, "m"))
    ]
    assert told(json.dumps(threads)) == "jobs.py:31 in add"


def test_where_all_is_a_librarys_the_innermost_line_is_told() -> None:
    assert told(json.dumps([dump(LIBRARY)])) == "connection.py:7 in recv"


def test_the_main_thread_speaks_for_its_process() -> None:
    other = dump(frame("/home/me/other.py", 1, "f"), thread="Thread-1")
    main = dump(frame("/home/me/jobs.py", 2, "g"))
    assert told(json.dumps([other, main])) == "jobs.py:2 in g"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '[{"frames": []}]', "[3]"])
def test_what_cannot_be_understood_tells_nothing(text: str) -> None:
    assert told(text) == ""


def test_a_sleeping_process_tells_its_line(tmp_path: Path) -> None:
    beside = os.path.join(os.path.dirname(sys.executable), "py-spy")
    if not (shutil.which("py-spy") or os.path.isfile(beside)):
        pytest.skip("py-spy is not here: the extra `stacks` has it")
    program = tmp_path / "sleeper.py"
    program.write_text(
        "import time\ndef rest():\n    print(flush=True)\n    time.sleep(60)\nrest()\n"
    )
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            deadline = time.monotonic() + 10
            stacks, attempt, line = Stacks(), 0.0, ""
            # It may have printed, and not be in its sleep yet: another sleep is asked about anew.
            while line != "sleeper.py:4 in rest" and time.monotonic() < deadline:
                attempt += 1
                line = stacks.line(process.pid, attempt)
        finally:
            process.kill()
    if not line and os.geteuid():
        pytest.skip(
            "this user may not read the memory of another process: kernel.yama.ptrace_scope"
        )
    assert line == "sleeper.py:4 in rest"


def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *command: str) -> bool:
    """Whether py-spy is started for a process, and what it says then is believed."""
    spy = tmp_path / "py-spy"
    spy.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps([dump(LIBRARY)])}\nEND\n")
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it is what it executes by now
            return Stacks().line(process.pid, 0.0) == "connection.py:7 in recv"
        finally:
            process.kill()


def test_only_what_is_python_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = "import time; print(flush=True); time.sleep(60)"
    assert asked(tmp_path, monkeypatch, sys.executable, "-c", python)
    assert not asked(tmp_path, monkeypatch, "sh", "-c", "echo; exec sleep 60")
