from __future__ import annotations

from dataclasses import replace

from lab.detect.wording import counted, cut, label, listed
from tests.detect.builders import ROOT, child, run


def test_of_many_items_the_first_few_are_named_and_the_others_counted() -> None:
    names = [f"P{number}" for number in range(20)]

    assert listed(names[:8]) == "P0, P1, P2, P3, P4, P5, P6 and P7"
    assert listed(names) == "P0, P1, P2, P3, P4, P5, P6 and 13 others"


def test_a_text_that_fits_is_not_cut() -> None:
    assert cut("x" * 10, 10) == "x" * 10
    assert cut("x" * 11, 10) == "x" * 7 + "..."


def test_nouns_agree_with_their_number() -> None:
    assert [counted(n, "byte") for n in (0, 1, 2)] == ["0 bytes", "1 byte", "2 bytes"]
    assert counted(2, "child process") == "2 child processes"


def test_a_process_is_told_by_its_name_and_its_command() -> None:
    script = replace(ROOT, command="/bin/sh ./shop.sh")

    assert label(run(child("P1")), "P1") == "P1 (worker 1)"
    assert label(run(), "P0") == "P0 (python shop.py)"
    assert label(run(root=script, scenario="./shop.sh"), "P0") == "P0 (/bin/sh ./shop.sh)"


def test_a_command_that_tells_nobody_apart_is_not_told() -> None:
    fork_of_the_root = child("P1", command=ROOT.command)

    assert label(run(fork_of_the_root), "P1") == "P1"
    # The program is a function: what its root runs is the lab.
    assert label(run(scenario="shop.open"), "P0") == "P0"


def test_a_process_that_nobody_saw_is_its_name_alone() -> None:
    assert label(run(), "P9") == "P9"
