"""What is to be done about a story: the one place in which that is decided."""

from __future__ import annotations

import pytest

from lab.report.story import Standing, Story, exit_status, shown
from tests.report.samples import (
    DECLARED,
    DIFFERS,
    ERROR,
    FAILED,
    KNOWN,
    KNOWN_BESIDE,
    LED,
    PARTLY_KNOWN,
    PASSED,
    SKIPPED,
    UNDECIDED,
    VACUOUS,
)


@pytest.mark.parametrize(
    ("story", "standing"),
    [
        (FAILED, Standing.BAD),
        (PASSED, Standing.GOOD),
        (ERROR, Standing.UNDECIDED),
        (VACUOUS, Standing.UNDECIDED),
        (DECLARED, Standing.GOOD),
        (DIFFERS, Standing.BAD),
        (UNDECIDED, Standing.UNDECIDED),
        (SKIPPED, Standing.SKIPPED),
        (KNOWN, Standing.KNOWN),
        (KNOWN_BESIDE, Standing.KNOWN),
        (PARTLY_KNOWN, Standing.BAD),
    ],
)
def test_a_known_finding_does_not_count_and_a_new_one_does(
    story: Story, standing: Standing
) -> None:
    assert story.standing is standing


@pytest.mark.parametrize(
    ("stories", "status"),
    [
        ((), 0),
        ((PASSED, KNOWN, DECLARED), 0),
        ((PASSED, SKIPPED), 0),
        ((SKIPPED, SKIPPED), 3),
        ((KNOWN, VACUOUS), 3),
        ((ERROR, PARTLY_KNOWN), 1),
        ((LED,), 1),
    ],
)
def test_what_is_new_outweighs_what_is_undecided_and_that_what_is_good(
    stories: tuple[Story, ...], status: int
) -> None:
    assert exit_status(stories) == status


def test_only_what_is_new_is_complained_of_and_the_text_tells_both() -> None:
    assert PARTLY_KNOWN.complaints == ("LEAK posix-shm: It was left.",)
    assert "known: lost-update of /counter in counter.unguarded" in shown(PARTLY_KNOWN)
    assert "known:" not in shown(FAILED)
