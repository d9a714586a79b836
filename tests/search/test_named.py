from __future__ import annotations

import pytest

from lab.search.named import NAMES, UnknownStrategy, strategy


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
