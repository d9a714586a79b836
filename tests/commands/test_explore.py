"""`lab explore`, `lab replay`, `lab exec --explore`, over toys in place of the controller."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.cli import main
from lab.exploration import explore
from lab.run.limits import LabError
from lab.search.schedule import Choose
from lab.search.token import Origin, Source, Token
from lab.trace import Trace
from tests.search import stand_in
from tests.search.models import counter
from tests.search.toy import Program, ToyRunner

RACY, GUARDED = "counter.posix_unguarded", "counter.posix_guarded"
Control = Callable[..., None]


def body() -> None:
    """What would be run, if the toy were not."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules are saved in the current directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    return functools.partial(stand_in.control, monkeypatch)


def _document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    main([*words[:1], "--json", "-", *words[1:]])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_race_is_reported_and_exits_1(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())

    assert main(["explore", RACY, "--schedules", "20", "--seed", "4"]) == 1
    text = capsys.readouterr().out
    assert text.startswith(f"✗ LOST UPDATE  {RACY}")
    assert "  Replay: lab replay 1" in text
    assert "controlled (auto, seed 4)" in text


def test_a_fix_exits_0(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    control(counter(guarded=True))

    assert main(["explore", GUARDED, "--schedules", "5"]) == 0
    assert "no finding in 5 controlled runs" in capsys.readouterr().out


def test_a_family_is_all_of_it(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    control(counter())
    document = _document(capsys, "explore", "counter", "--schedules", "2", "-p", "writers=2")

    assert [result["scenario"] for result in document["results"]][:2] == [RACY, GUARDED]
    assert {result["parameters"]["writers"] for result in document["results"]} == {"2"}


def test_a_token_from_the_json_is_replayed(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())
    (result,) = _document(capsys, "explore", RACY, "--stop-at-first")["results"]
    (finding,) = result["findings"]
    (again,) = _document(capsys, "replay", finding["schedule"])["results"]

    assert result["mode"] == again["mode"] == "controlled"
    assert again["findings"] == [{**finding, "seen_in": 1, "shrunk": None}]
    assert len(finding["steps"]) == 30


def test_a_replay_that_goes_another_way_exits_3(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())
    (result,) = _document(capsys, "explore", RACY, "--stop-at-first")["results"]
    control(counter(2))

    assert main(["replay", result["findings"][0]["schedule"]]) == 3
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(f"? ERROR {RACY}")
    assert "the replay went another way at step" in text


def test_a_command_is_explored_too(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    control(counter())

    assert main(["exec", "--explore", "20", "--", "sh", "-c", "a & b"]) == 1
    assert "✗ LOST UPDATE  sh -c 'a & b'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["explore", RACY, "--strategy", "randon"], "--strategy randon: there is no strategy"),
        (["explore", RACY, "--depth", "2"], "depth is a setting of pct and means nothing to auto"),
        (["explore", RACY, "-p", "writer=2"], "nearest: writers"),
        (["explore", "counter.nothing"], "there is no scenario 'counter.nothing'"),
        (["replay", "2f7a"], "lab replay: '2f7a' is no token"),
        (["exec", "--explore", "9"], "lab exec needs a command after --"),
        (["exec", "--explore", "9", "--", "no-such-program"], "there is no program"),
        (
            ["exec", "--isolation", "snapshots", "--explore", "9", "--", "true"],
            "--explore needs namespaces",
        ),
    ],
)
def test_a_question_without_sense_exits_2(
    words: list[str], answer: str, control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())

    assert main(words) == 2
    assert answer in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["explore", RACY, "--schedules", "0"], "'0' is no count; give 1 or more"),
        (["explore", RACY, "--max-steps", "many"], "'many' is no count"),
        (["explore", RACY, "--seed", "x"], "invalid int value: 'x'"),
        (["explore"], "the following arguments are required: ID"),
        (["replay"], "the following arguments are required: TOKEN"),
    ],
)
def test_so_does_one_that_the_grammar_refuses(
    words: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)

    assert left.value.code == 2
    assert answer in capsys.readouterr().err


class Refused(ToyRunner):
    def __init__(self, program: Program) -> None:
        super().__init__(program)
        raise LabError("ptrace is refused here: set kernel.yama.ptrace_scope to 1")


def test_where_control_is_refused_one_line_says_what_to_change_and_it_exits_3(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(), Refused)

    assert main(["explore", RACY]) == 3
    assert capsys.readouterr().err == (
        "lab: ptrace is refused here: set kernel.yama.ptrace_scope to 1\n"
    )


class Impatient(ToyRunner):
    runs = 0

    def run(self, choose: Choose, *, max_steps: int, with_lines: bool = False) -> Trace:
        self.runs += 1
        if self.runs > 3:
            raise KeyboardInterrupt
        return super().run(choose, max_steps=max_steps, with_lines=with_lines)


def test_ctrl_c_keeps_what_was_found_and_exits_130(
    control: Control, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    control(counter(), Impatient)
    file = tmp_path / "found.json"

    assert main(["explore", RACY, GUARDED, "--json", str(file)]) == 130
    document = json.loads(file.read_text())
    assert [result["runs"] for result in document["results"]] == [3]
    assert document["stopped"] == "Ctrl-C"
    assert "Note: stopped by Ctrl-C after 3 of 100 schedules" in capsys.readouterr().out


# --- Saved schedules -----------------------------------------------------------------------


def _saved() -> list[Path]:
    return sorted(Path(".lab", "schedules").iterdir()) if Path(".lab").exists() else []


def test_a_schedule_that_fails_is_saved_and_replays_from_its_file(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())

    assert main(["explore", RACY, "--schedules", "5"]) == 1
    (file,) = _saved()
    assert f"saved, to be run first the next time: {file}" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["replay", str(file)]) == 1
    assert "LOST UPDATE" in capsys.readouterr().out


def test_a_report_is_enough_to_replay_all_that_failed_in_it(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())
    main(["explore", RACY, GUARDED, "--schedules", "5", "--no-save", "--json", "nightly.json"])
    capsys.readouterr()

    assert main(["replay", "nightly.json"]) == 1
    assert capsys.readouterr().out.count("LOST UPDATE") == 2


def test_a_file_may_have_any_name(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    control(counter())
    main(["explore", RACY, "--schedules", "5", "--no-save", "--json", "nightly"])
    capsys.readouterr()

    assert main(["replay", "nightly"]) == 1
    assert capsys.readouterr().out.count("LOST UPDATE") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 1, "results": []}', "nightly.json holds no schedule: nothing in it was found"),
        ('{"format": 9, "results": []}', "nightly.json is no report: its format is 9"),
    ],
)
def test_a_report_without_a_schedule_is_refused(
    content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("nightly.json").write_text(content)

    assert main(["replay", "nightly.json"]) == 2
    assert message in capsys.readouterr().err


def test_it_is_run_first_the_next_time(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())
    main(["explore", RACY, "--schedules", "5"])
    (file,) = _saved()
    before = (file.stat().st_ino, file.stat().st_mtime_ns)
    capsys.readouterr()
    (again,) = _document(capsys, "explore", RACY, "--stop-at-first")["results"]

    assert (again["verdict"], again["runs"]) == ("failed", 1)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before  # it was read, and not written


def test_when_the_program_was_mended_it_is_stale_and_not_passed(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())
    main(["explore", RACY, "--schedules", "5"])
    (file,) = _saved()
    control(counter(guarded=True))
    capsys.readouterr()

    assert main(["explore", RACY, "--schedules", "5"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"the saved schedule {file} is stale: the program has changed since" in text
    assert "That it shows no lost-update now is no pass" in text
    assert main(["replay", str(file)]) == 3
    assert "the schedule is stale" in " ".join(capsys.readouterr().out.split())


def test_nothing_is_saved_if_nobody_wants_it(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())

    assert main(["explore", RACY, "--schedules", "5", "--no-save"]) == 1
    assert _saved() == []
    assert "saved" not in capsys.readouterr().out


@pytest.mark.parametrize("words", [["replay", "./broken.json"], ["explore", RACY]])
def test_a_file_that_is_broken_is_named(
    words: list[str], control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())
    Path("broken.json").write_text("{}")
    Path(".lab", "schedules").mkdir(parents=True)
    Path(".lab", "schedules", "broken.json").write_text("{}")

    assert main(words) == 2
    assert "broken.json holds no schedule" in capsys.readouterr().err


def test_a_replay_finds_a_function_of_the_current_directory(
    control: Control, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    Path("body_in_this_directory.py").write_text("def body():\n    pass\n")
    control(counter())
    found = explore(body, schedules=5).findings[0]
    token = Token.read(found.schedule)
    origin = Origin(Source.FUNCTION, ("body_in_this_directory:body",))

    assert main(["replay", str(dataclasses.replace(token, origin=origin))]) == 1
    assert "LOST UPDATE  body_in_this_directory:body" in capsys.readouterr().out
