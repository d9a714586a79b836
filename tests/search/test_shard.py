"""Shards of a search make the very runs that the search would have made."""

from __future__ import annotations

import pytest

from lab.search.pct import Pct
from lab.search.pos import Pos
from lab.search.random import Random
from lab.search.shard import Shard, divisible
from tests.search.models import counter
from tests.search.toy import run
from tests.test_loop import Listed


def _runs(strategy: Random | Pos | Shard, count: int) -> list[tuple[str, ...]]:
    made = []
    for _ in range(count):
        assert strategy.begin()
        trace = run(counter(), strategy.choose).trace
        strategy.end(trace)
        made.append(tuple(event.process for event in trace.events))
    return made


@pytest.mark.parametrize("strategy", [Random, Pos])
@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_together_they_make_every_run_once_and_in_its_place(
    of: int, strategy: type[Random | Pos]
) -> None:
    whole = _runs(strategy(5), 21)
    shards = [_runs(Shard(strategy(5), index, of), -(-21 // of)) for index in range(of)]

    assert [shards[number % of][number // of] for number in range(21)] == whole


def test_a_shard_knows_the_numbers_of_its_runs() -> None:
    shard = Shard(Random(0), 2, 3)
    numbers = []
    for _ in range(4):
        shard.begin()
        numbers.append(shard.run)

    assert numbers == [2, 5, 8, 11]


def test_only_a_strategy_that_says_so_is_divisible() -> None:
    assert divisible(Random(0))
    assert divisible(Pos(0))
    assert not divisible(Pct(0))
    assert not divisible(Listed(3))
