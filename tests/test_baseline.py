"""What makes a finding known: what stays the same, and what may be different."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.baseline import BadBaseline, Baseline
from lab.finding import Finding, Kind
from lab.known import Known, fingerprint


def invariant(where: str) -> Finding:
    return Finding(Kind.INVARIANT, where, "An assertion failed.")


def leak(name: str, subject: str = "posix-shm") -> Finding:
    return Finding(Kind.LEAK, name, "It was left.", subject)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (invariant("/home/me/project/test_it.py:31"), invariant("test_it.py:112")),
        (leak("/psm_1f00ba44"), leak("/psm_00000000")),
        (leak("/jobs-4711"), leak("/jobs-23456")),
        (leak("futex at 0x7f0012345678"), leak("futex at 0x55aa12345678")),
        (invariant(f"{Path.cwd()}/out"), invariant("out")),
    ],
)
def test_lines_pids_addresses_and_places_make_no_difference(one: Finding, other: Finding) -> None:
    assert fingerprint("a.bug", one) == fingerprint("a.bug", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (leak("/jobs1"), leak("/jobs2")),
        (leak("key 0x0000004c"), leak("key 0x0000004d")),
        (leak("/jobs"), leak("/jobs", "posix-sem")),
        (invariant("test_it.py:31"), invariant("test_that.py:31")),
    ],
)
def test_names_kinds_and_files_do(one: Finding, other: Finding) -> None:
    assert fingerprint("a.bug", one) != fingerprint("a.bug", other)
    assert fingerprint("a.bug", one) != fingerprint("another.bug", one)


def test_what_a_summary_says_makes_no_difference() -> None:
    lost = Finding(Kind.LOST_UPDATE, "counter", "1 of 15 lost.", schedule="1abc", key_steps=(3,))

    assert fingerprint("a.bug", lost) == fingerprint(
        "a.bug", Finding(Kind.LOST_UPDATE, "counter", "9 of 15 lost.")
    )


def test_one_more_that_looks_alike_is_new() -> None:
    baseline = Baseline([Known.of("a.bug", leak("/jobs-1234"))])
    both = (leak("/jobs-5678"), leak("/jobs-9999"))

    assert [baseline.knows("a.bug", each, both) for each in both] == [True, False]
    assert [each.object for each in baseline.new] == ["/jobs-9999"]


def test_the_same_in_another_result_is_not_one_more() -> None:
    baseline = Baseline([Known.of("a.bug", leak("/jobs-1234"))])

    assert baseline.knows("a.bug", leak("/jobs-5678"))
    assert baseline.knows("a.bug", leak("/jobs-9999"))
    assert baseline.new == baseline.gone({"a.bug"}) == ()


def test_what_is_not_seen_is_gone_if_its_program_was_judged() -> None:
    baseline = Baseline([Known.of("a.bug", leak("/jobs")), Known.of("b.bug", leak("/jobs"))])

    assert [each.program for each in baseline.gone({"a.bug"})] == ["a.bug"]


def test_a_written_baseline_keeps_what_is_known_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    baseline = Baseline([Known.of("a.bug", leak("/old")), Known.of("b.bug", leak("/other"))])
    baseline.knows("a.bug", leak("/new"))

    assert baseline.write(path, {"a.bug"}) == 2

    again = Baseline.read(path)
    assert again.knows("a.bug", leak("/new"))
    assert again.knows("b.bug", leak("/other"))
    assert not again.knows("a.bug", leak("/old"))


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 1, "known": [{}]}'])
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "known.json"
    path.write_text(text)

    with pytest.raises(BadBaseline, match=r"known\.json holds no baseline"):
        Baseline.read(path)
