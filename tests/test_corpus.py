"""Saved schedules: what is written, when, and what comes of a program that has changed."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.corpus import BadFile, Corpus, read
from lab.exploration import explore
from lab.finding import Finding, Kind
from lab.search.schedule import Schedule
from lab.search.token import Origin, Source, Token
from lab.trace import Action
from tests.detect.events import in_order, write
from tests.search import stand_in
from tests.search.models import counter
from tests.search.toy import Program, Task
from tests.search.toy import read as reading
from tests.search.toy import write as writing

ORIGIN = Origin(Source.SCENARIO, ("counter.racy",), (("writers", "2"),))
Control = Callable[..., None]


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    return functools.partial(stand_in.control, monkeypatch)


def body() -> None:
    """What would be run, if the toy were not."""


def _token(*deviations: tuple[int, str], origin: Origin = ORIGIN) -> Token:
    return Token(origin, Schedule(deviations, len(deviations)), (Action.WRITE,), 100, 7, "x 3.12")


LOST = Finding(
    Kind.LOST_UPDATE,
    "/n",
    "One is gone.",
    key_steps=(0, 1),
    steps=in_order(write("P1", 4, 5), write("P2", 5, 6)),
    schedule=str(_token((3, "P2"), (7, "P1"))),
)


def _save(folder: Path, finding: Finding) -> Path:
    ((_, path),) = Corpus(folder).save([finding])
    return path


def test_a_file_is_for_people_and_gives_the_token_back(tmp_path: Path) -> None:
    path = _save(tmp_path / "new", LOST)
    content = json.loads(path.read_text())

    assert path.name.startswith("counter.racy.lost-update.")
    assert content["program"] == ["scenario", "counter.racy"]
    assert content["switches"] == ["step 3: P2", "step 7: P1"]
    assert content["key_steps"][1] == "step 1: P2 write posix-shm:/n = 6"
    assert read(path).token == Token.read(LOST.schedule)
    assert read(path).identity == LOST.identity
    assert path.read_text() == _save(tmp_path / "other", LOST).read_text()


def test_only_a_simpler_schedule_takes_the_place_of_another(tmp_path: Path) -> None:
    path = _save(tmp_path, LOST)
    worse = dataclasses.replace(LOST, schedule=str(_token((1, "P2"), (2, "P1"), (4, "P2"))))
    better = dataclasses.replace(LOST, schedule=str(_token((3, "P2"))))

    assert _save(tmp_path, worse) == path
    assert str(read(path).token) == LOST.schedule
    assert _save(tmp_path, better) == path
    assert str(read(path).token) == better.schedule


def test_any_takes_the_place_of_one_that_is_stale(tmp_path: Path) -> None:
    path = _save(tmp_path, LOST)
    worse = dataclasses.replace(LOST, schedule=str(_token((1, "P2"), (2, "P1"), (4, "P2"))))

    list(Corpus(tmp_path).save([worse], stale=[path]))

    assert str(read(path).token) == worse.schedule


def test_each_finding_of_each_program_has_a_file_of_its_own(tmp_path: Path) -> None:
    other = Origin(Source.SCENARIO, ("counter.racy",), (("writers", "3"),))
    elsewhere = dataclasses.replace(LOST, schedule=str(_token((3, "P2"), origin=other)))
    paths = {
        _save(tmp_path, LOST),
        _save(tmp_path, elsewhere),
        _save(tmp_path, dataclasses.replace(LOST, object="/m")),
        _save(tmp_path, dataclasses.replace(LOST, kind=Kind.LEAK)),
    }

    assert len(paths) == 4
    assert len(list(Corpus(tmp_path).of(ORIGIN))) == 3
    assert len(list(Corpus(tmp_path).of(other))) == 1


def test_nothing_is_left_beside_the_files(tmp_path: Path) -> None:
    path = _save(tmp_path, LOST)

    assert list(tmp_path.iterdir()) == [path]


def test_without_a_folder_there_is_nothing_saved(tmp_path: Path) -> None:
    assert list(Corpus(tmp_path / "none").of(ORIGIN)) == []


def test_who_may_not_write_reads_all_the_same(tmp_path: Path) -> None:
    path = _save(tmp_path, LOST)
    corpus = Corpus(tmp_path, keep=False)

    assert list(corpus.save([dataclasses.replace(LOST, object="/m")])) == []
    assert [saved.path for saved in corpus.of(ORIGIN)] == [path]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"holds no schedule \(it is no JSON: Expecting value"),
        ("{}", r"holds no schedule \('format' is missing\)"),
        ("[]", r"holds no schedule \(it is JSON of another shape\)"),
        ('{"format": 2}', "is of format 2; this lab reads 1"),
        (
            '{"format":1, "token":"1x", "finding":{"kind":"leak", "subject":"", "object":""}}',
            "holds no schedule",
        ),
    ],
)
def test_what_is_no_schedule_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)

    with pytest.raises(BadFile, match=why):
        read(path)
    with pytest.raises(BadFile, match="No such file"):
        read(tmp_path / "missing.json")


def test_the_library_saves_nothing_unless_asked(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    control(counter())
    explore(body, schedules=5)
    assert list(tmp_path.iterdir()) == []

    explore(body, schedules=5, saved=tmp_path / "mine")
    (path,) = (tmp_path / "mine").iterdir()
    assert read(path).token.schedule == Schedule(((1, "P2"),), 1)


def test_a_saved_schedule_finds_what_the_search_would_not(control: Control, tmp_path: Path) -> None:
    """One rare order among many: a hundred seeds miss it, the file does not."""

    def quiet() -> Task:
        for _ in range(6):
            yield writing("flag", 1)
            yield writing("flag", 0)

    def looks() -> Task:
        for _ in range(4):
            if not (yield reading("flag")):
                return
        raise AssertionError

    control(Program({"P1": quiet, "P2": looks}))
    once = functools.partial(explore, body, strategy="random", schedules=1)
    seed = next(seed for seed in range(2000) if once(seed=seed).findings)
    once(seed=seed, saved=tmp_path)
    other = next(seed for seed in range(99) if not once(seed=seed).findings)

    result = once(seed=other, saved=tmp_path)

    assert result.runs == 2
    assert [finding.kind for finding in result.findings] == [Kind.INVARIANT]
    assert result.seen_in == (1,)


def test_a_stale_schedule_that_still_leads_there_is_replaced(
    control: Control, tmp_path: Path
) -> None:
    control(counter(3, 5))
    explore(body, schedules=5, saved=tmp_path)
    (path,) = tmp_path.iterdir()
    before = read(path).token
    control(counter(3, 6))
    result = explore(body, schedules=5, saved=tmp_path)

    assert any(f"{path} is stale" in note for note in result.notes)
    assert any("was found all the same" in note for note in result.notes)
    assert read(path).token.fingerprint != before.fingerprint


def test_a_folder_that_cannot_be_written_is_a_note_and_loses_no_finding(
    control: Control, tmp_path: Path
) -> None:
    control(counter())
    (tmp_path / "file").write_text("")
    result = explore(body, schedules=5, saved=tmp_path / "file")

    assert [finding.kind for finding in result.findings] == [Kind.LOST_UPDATE]
    assert any(note.startswith("its schedule could not be saved") for note in result.notes)
