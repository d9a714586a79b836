from __future__ import annotations

import pytest

from lab.search.bounded import Bounded
from lab.search.named import NAMES, UnknownStrategy, WrongSetting, strategy


@pytest.mark.parametrize("name", NAMES)
def test_every_name_gives_a_strategy_that_is_ready_to_begin(name: str) -> None:
    assert strategy(name, seed=0).begin()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("randon", "nearest: random"),
        ("Random", "nearest: random"),
        ("xyz", "there are: auto, random"),
    ],
)
def test_an_unknown_name_is_answered_with_what_is_known(name: str, answer: str) -> None:
    with pytest.raises(UnknownStrategy, match=answer):
        strategy(name, seed=0)


@pytest.mark.parametrize(
    ("name", "settings", "answer"),
    [
        ("dpor", {"depth": 3}, "depth is a setting of pct and means nothing to dpor"),
        ("auto", {"preemptions": 1}, "preemptions is a setting of bounded and means nothing"),
        ("pct", {"depth": 0}, "a depth of 1 or more, not 0"),
        ("bounded", {"preemptions": -1}, "must be 0 or more, not -1"),
    ],
)
def test_a_setting_that_a_strategy_does_not_take_is_refused(
    name: str, settings: dict[str, int], answer: str
) -> None:
    with pytest.raises(WrongSetting, match=answer):
        strategy(name, seed=0, **settings)


def test_a_setting_reaches_its_strategy() -> None:
    bounded = strategy("bounded", seed=0, preemptions=1)

    assert isinstance(bounded, Bounded)
    assert bounded.preemptions == 1
