"""Sessions of pytest under the guard, and what they said: as whoever runs the tests, or another."""

from __future__ import annotations

import ast
import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import posix_ipc
import pytest

PLANT = Path(__file__).with_name("planted.py")
EXPECTED = {
    node.name: (ast.get_docstring(node) or "").split()
    for node in ast.parse(PLANT.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
}
"""Of each test in the plant, the kinds of what it leaves."""
DOUBT = "lab-guard-doubt:"
CLEANS = ("--lab-guard=error", "--lab-guard-clean", "-o", "lab_guard_window=20")


@dataclass(frozen=True)
class Told:
    """What a session said of its tests."""

    output: str
    leaks: Mapping[str, list[tuple[str, str]]]
    """Of each test, the kinds and what was said of each."""
    failed: frozenset[str]

    def kinds(self, test: str) -> list[str]:
        return sorted(kind for kind, _ in self.leaks[test])


_PLUGINS = ("-p", "lab.pytest_plugin", "-p", "xdist")
"""And no other that is installed: to load those takes longer than most suites here."""


def session(place: Path, *arguments: str, user: str = "", **files: str) -> Told:
    """Run a suite under the guard, in a directory of its own, and read its JUnit file.

    Args:
        place: the directory.
        arguments: options of pytest.
        user: the number of an ordinary user; "" is whoever runs the tests.
        files: texts of modules, by their names.
    """
    for name, text in files.items():
        (place / f"{name}.py").write_text(text)
    (place / "tmp").mkdir()
    if user:
        for path in (place, *place.iterdir()):
            os.chown(path, int(user), int(user))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    plant = uuid.uuid4().hex[:8]
    run = subprocess.run(
        [*_as(user), sys.executable, "-m", "pytest", *_PLUGINS, "--junitxml=junit.xml", *arguments],
        cwd=place,
        env=inherited
        | {"PLANT": plant, "TMPDIR": str(place / "tmp")}
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    # A queue that this user cannot list is out of the guard's sight, and stays on the machine.
    with contextlib.suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_message_queue(f"/planted-{plant}")
    assert (place / "junit.xml").exists(), run.stdout + run.stderr
    leaks, failed = junit(place / "junit.xml")
    return Told(run.stdout + run.stderr, leaks, failed)


def junit(file: Path) -> tuple[dict[str, list[tuple[str, str]]], frozenset[str]]:
    """What a JUnit file says that tests left, and which failed."""
    cases = list(ET.parse(file).iter("testcase"))  # noqa: S314  # our own file
    leaks: dict[str, list[tuple[str, str]]] = {case.attrib["name"]: [] for case in cases}
    for case in cases:
        for told in case.iter("property"):
            kind = told.attrib["name"].removeprefix("lab-guard:")
            leaks[case.attrib["name"]].append((kind, told.attrib["value"]))
    failed = {c.attrib["name"] for c in cases if any(e.tag in {"error", "failure"} for e in c)}
    return leaks, frozenset(failed)


def _as(user: str) -> tuple[str, ...]:
    """What starts a program as an ordinary user; skips where that is not to be had.

    Of root's powers one is kept: to reach the interpreter, the checkout and pytest's directories,
    which may lie where only their owner looks.
    """
    if not user:
        return ()
    kept = "-all,+dac_override"
    powers = (f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}")
    command = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *powers)
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"nobody can become an ordinary user here: {tried.stderr.strip()}")
    return command
