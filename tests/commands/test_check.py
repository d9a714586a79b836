"""`lab check` under control, over toys in place of the controller; its free runs are canned."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.catalogue import select
from lab.cli import main
from lab.finding import Finding, Kind, Result, Verdict
from lab.scenario import Scenario
from tests.search import stand_in
from tests.search.models import counter
from tests.search.toy import Program, Task, read, write

RACY, GUARDED = "counter.posix_unguarded", "counter.posix_guarded"
SYSV = "counter.sysv_unguarded"
COMMITTED = "committed"
Control = Callable[..., None]


def late() -> Program:
    """A counter whose race lies where a schedule of an earlier version does not lead."""

    def writer() -> Task:
        for _ in range(7):
            yield read("settings")
        value = yield read("n")
        yield write("n", value + 1)

    return Program({"P1": writer, "P2": writer})


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Control:
    """Puts a toy under control; free runs are as declared."""
    lost = Finding(Kind.LOST_UPDATE, "counter", "One is gone.")

    def observed(scenario: Scenario, *_: Any) -> Iterator[Result]:
        found = (lost,) if scenario.role == "bug" else ()
        verdict = Verdict.FAILED if found else Verdict.PASSED
        yield Result(scenario.id, "observed", verdict, 1, 0.1, found, (1,) * len(found))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lab.commands.checking.saved_schedules", lambda: tmp_path / COMMITTED)
    monkeypatch.setattr("lab.commands.saving.saved_schedules", lambda: tmp_path / COMMITTED)
    monkeypatch.setattr("lab.commands.checking.observed", observed)
    return functools.partial(stand_in.control, monkeypatch)


def test_a_bug_is_searched_until_it_has_shown_what_it_declares(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())

    assert main(["check", RACY]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith(f"✓ ok      bug  {RACY}")
    assert line.split()[-4:] == ["lost-update:", "found", "in", "3"]


def test_a_bug_that_control_does_not_show_differs(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(guarded=True))

    assert main(["check", RACY]) == 1
    out = capsys.readouterr().out
    assert f"{RACY}: expected lost-update; seen no finding in 200 runs" in out
    assert f"Look closer: lab explore {RACY}" in out


@pytest.mark.parametrize(
    ("program", "told"),
    [(counter(3, 5, guarded=True), "50 schedules"), (counter(2, 1, guarded=True), "proved")],
)
def test_a_fix_holds_for_fifty_schedules_or_is_proved(
    program: Program, told: str, control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(program)

    assert main(["check", GUARDED]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(told)


def test_a_fix_that_fails_under_control_differs_and_both_results_are_in_the_document(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter())

    assert main(["check", GUARDED, "--json", "-"]) == 1
    results = json.loads(capsys.readouterr().out)["results"]
    (result,) = (result for result in results if result["mode"] == "controlled")
    assert result["runs"] == 50
    assert len(result["differences"]) == 1


def test_a_saved_schedule_comes_first_and_decides_alone(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(3, 5))
    main(["explore", RACY])
    capsys.readouterr()

    assert main(["check", RACY]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("lost-update: replayed")


def test_a_schedule_is_kept_beside_the_scenarios_and_replayed(
    control: Control, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    control(counter(3, 5))
    assert main(["check", "--save", RACY, GUARDED]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith(f"✓ saved   {RACY}")
    assert "lost-update: 1 preemption\n" in out
    assert "1 schedule of 1 bug in committed." in out
    (file,) = (tmp_path / COMMITTED).iterdir()
    assert json.loads(file.read_text())["program"] == ["scenario", RACY]

    assert main(["check", RACY]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("lost-update: replayed")


def test_saving_again_takes_the_place_of_what_was_there(control: Control, tmp_path: Path) -> None:
    folder = tmp_path / COMMITTED
    control(counter(3, 5))
    main(["check", "--save", RACY])
    (file,) = folder.iterdir()
    first = file.read_text()
    main(["check", "--save", RACY])
    assert file.read_text() == first

    file.rename(folder / "under-another-name.json")
    control(counter(3, 6))
    main(["check", "--save", RACY])
    assert list(folder.iterdir()) == [file]
    assert file.read_text() != first


def test_only_saving_all_removes_what_belongs_to_no_scenario(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control(counter(3, 5))
    main(["check", "--save", RACY])
    (file,) = (tmp_path / COMMITTED).iterdir()
    other = select([SYSV])
    monkeypatch.setattr("lab.commands.check.select", lambda _: other)

    assert main(["check", "--save", SYSV]) == 0
    assert file.exists()
    assert main(["check", "--save"]) == 0
    assert not file.exists()


def test_a_bug_that_is_not_found_keeps_the_schedule_that_it_had(
    control: Control, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    control(counter(3, 5))
    main(["check", "--save", RACY])
    control(counter(guarded=True))
    capsys.readouterr()

    assert main(["check", "--save", RACY]) == 1
    assert "expected lost-update, seen" in capsys.readouterr().out
    assert len(list((tmp_path / COMMITTED).iterdir())) == 1


def test_another_run_that_shows_the_same_is_told_and_passes(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(3, 5))
    main(["check", "--save", RACY])
    control(counter(3, 6))
    capsys.readouterr()

    assert main(["check", RACY]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].endswith("lost-update: replayed, stale")
    assert f"Note: {RACY}: the saved schedule committed/{RACY}.lost-update." in out
    assert "leads to another run now, which shows the same. Search it anew" in out
    assert f"lab check --save {RACY}" in out


def test_a_stale_schedule_that_shows_nothing_does_not_pass(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(3, 5))
    main(["check", "--save", RACY])
    control(late())
    capsys.readouterr()

    assert main(["check", RACY]) == 3
    out = capsys.readouterr().out
    assert out.startswith("? stale   bug")
    assert f"{RACY}: the saved schedule committed/{RACY}.lost-update." in out
    assert f"lab check --save {RACY}; or delete the file" in out


def test_one_of_another_python_leaves_the_answer_to_a_search(
    control: Control, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    control(counter(3, 5))
    monkeypatch.setattr("lab.telling.here", lambda: "x86_64 3.99")
    main(["check", "--save", RACY])
    control(late())
    capsys.readouterr()

    assert main(["check", RACY]) == 0
    assert ": found in " in capsys.readouterr().out.splitlines()[0]


def test_a_stale_schedule_of_a_fix_does_not_pass(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control(counter(3, 5))
    main(["explore", GUARDED])
    control(counter(3, 5, guarded=True))
    capsys.readouterr()

    assert main(["check", GUARDED]) == 3
    out = capsys.readouterr().out
    assert out.startswith("? stale   fix")
    assert f"{GUARDED}: the saved schedule .lab/schedules/{GUARDED}.lost-update." in out
    assert f"lab explore {GUARDED}; or delete the file" in out


def test_full_means_every_seed_for_a_bug_and_ten_times_the_schedules_for_a_fix(
    control: Control, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    control(counter())
    seeds: list[int] = []

    found = Finding(Kind.LOST_UPDATE, "counter", "One is gone.")

    def explored(target: Any, plan: Any, *, seed: int, **_: Any) -> Iterator[Result]:
        seeds.append(seed)
        if target.name == RACY:
            yield Result(RACY, "controlled", Verdict.FAILED, 1, 0.1, (found,), (1,))
        else:
            yield Result(GUARDED, "controlled", Verdict.PASSED, plan.schedules, 0.1)

    monkeypatch.setattr("lab.exploration.explored", explored)
    assert main(["check", GUARDED, "--full"]) == 0
    assert "500 schedules" in capsys.readouterr().out
    assert seeds == [0]

    seeds.clear()
    assert main(["check", RACY, "--full"]) == 0
    assert seeds == list(range(20))


def test_control_needs_namespaces(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", GUARDED, "--isolation", "snapshots"]) == 2
    assert "add --observed" in capsys.readouterr().err
