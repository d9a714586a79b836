"""What a check says: a line for each scenario, what differs, and the table of `--full`."""

from __future__ import annotations

import pytest

from lab.check import Check, Checked, judge
from lab.finding import Finding, Kind, Result, Verdict
from lab.report.check import effort_table, line, summary
from lab.report.style import columns
from lab.scenario import Scenario
from lab.verdict import unready
from tests.report.samples import BUG, FIX


def shown(
    *, runs: int = 1, saved: int = 0, stale: tuple[str, ...] = (), mode: str = "controlled"
) -> Result:
    kinds = (Kind.MESSAGE_LOSS, Kind.LEAK)
    found = tuple(Finding(kind, "/jobs", "It stays.") for kind in kinds)
    return Result(BUG.id, mode, Verdict.FAILED, runs, 1.0, found, (1, 1), saved=saved, stale=stale)


def held(verdict: Verdict = Verdict.PASSED, *, runs: int = 50, mode: str = "controlled") -> Result:
    return Result(FIX.id, mode, verdict, runs, 1.0)


def checked(body: Scenario, *results: Result) -> Checked:
    free = shown(mode="observed") if body is BUG else held(mode="observed")
    return Checked(body, tuple(judge(body, result) for result in (free, *results)))


@pytest.mark.parametrize(
    ("each", "told"),
    [
        (checked(BUG), "message-loss, leak"),
        (checked(BUG, shown(saved=1)), "message-loss, leak: replayed"),
        (checked(BUG, shown(saved=1, stale=("a.json",))), "message-...: replayed, stale"),
        (checked(BUG, shown(), shown(runs=17), shown(runs=3)), ": found in 17"),
        (checked(FIX, held()), "50 schedules"),
        (checked(FIX, held(Verdict.PROVED)), "proved"),
    ],
)
def test_a_line_tells_how_it_was_seen_within_the_page(each: Checked, told: str) -> None:
    text = line(each)
    assert text.startswith("✓ ok ")
    assert text.endswith(told)
    assert columns(text) <= 80


def test_remarks_are_told_and_change_nothing() -> None:
    check = Check((checked(BUG, shown(saved=1, stale=("a.json",))),), wanted=1)
    text = summary(check)
    assert text.startswith(f"\nNote: {BUG.id}: the saved schedule a.json leads to another run now")
    assert text.endswith("1 scenario checked: every one as declared.")
    assert check.exit_status == 0


def test_a_difference_of_one_seed_is_a_difference() -> None:
    each = checked(BUG, shown(), Result(BUG.id, "controlled", Verdict.PASSED, 200, 1.0))
    check = Check((each,), wanted=3)
    assert each.differs
    assert [judged.result.verdict for judged in each.told] == [Verdict.FAILED, Verdict.PASSED]
    assert "1 of 3 scenarios checked: 1 not as declared." in summary(check)
    assert check.exit_status == 1


def test_the_table_counts_seeds_of_bugs_and_schedules_of_fixes() -> None:
    missed = Result(BUG.id, "controlled", Verdict.PASSED, 200, 1.0)
    bug = checked(BUG, shown(runs=4), shown(runs=2), missed)
    fixes = [checked(FIX, held(runs=500)), checked(FIX, held(Verdict.PROVED, runs=7))]
    head, row, total = effort_table(Check((bug, *fixes), wanted=3)).splitlines()
    assert head.split()[-2:] == ["SCHEDULES", "FINDINGS"]
    assert row.split() == [BUG.family, "1", "2", "3", "4", "2", "1", "507", "0"]
    assert total.split()[1:] == row.split()[1:]
    assert all(columns(text) <= 80 for text in (head, row, total))


def test_of_a_bug_that_no_seed_found_the_table_tells_no_number() -> None:
    missed = Result(BUG.id, "controlled", Verdict.PASSED, 200, 1.0)
    _, row, _ = effort_table(Check((checked(BUG, missed),), wanted=1)).splitlines()
    assert row.split()[:5] == [BUG.family, "1", "0", "1", "-"]


def test_what_was_skipped_has_no_part_in_the_table() -> None:
    skipped = [unready(BUG.id, mode, ("a server",)) for mode in ("observed", "controlled")]
    lacking = Checked(BUG, tuple(judge(BUG, result) for result in skipped))
    with_it = Check((checked(FIX, held()), lacking), wanted=2)
    assert effort_table(with_it) == effort_table(Check((checked(FIX, held()),), wanted=1))
