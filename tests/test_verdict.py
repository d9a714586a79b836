from __future__ import annotations

import dataclasses
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.detect import findings
from lab.essence import essence
from lab.finding import Kind, Outcome, Result, Verdict
from lab.trace import (
    Action,
    Ending,
    Event,
    Failure,
    Messages,
    ObjectType,
    Process,
    SharedObject,
    Tally,
    Trace,
)
from lab.verdict import Series, conclude
from tests.detect.events import controlled, read, step, write

ROOT = Process("P0", 100, "", "python shop.py", started=0.0, ended=2.0, reaped=2.0, status=0)
CHILD = Process("P1", 101, "P0", "worker", started=0.1, ended=1.0, reaped=1.0, status=0)
GOOD = Trace("shop.open", "observed", Ending.COMPLETED, 2.0, (ROOT, CHILD), processes_started=2)
LOST = dataclasses.replace(GOOD, tally=Tally(15, 12))
KEPT = dataclasses.replace(GOOD, tally=Tally(15, 15))
ZOMBIE = dataclasses.replace(GOOD, processes=(ROOT, dataclasses.replace(CHILD, reaped=None)))
ALONE = dataclasses.replace(GOOD, processes=(ROOT,), processes_started=1)
BROKEN = dataclasses.replace(GOOD, ending=Ending.BROKEN, trouble="no space left for /dev/shm")
OVERRUN = dataclasses.replace(GOOD, ending=Ending.OVERRUN, process_limit=256)
DOUBTED = dataclasses.replace(GOOD, doubts=("sysv-mq key 0x2a appeared",))
INTERRUPTED = dataclasses.replace(GOOD, ending=Ending.INTERRUPTED)
LATE = dataclasses.replace(
    GOOD,
    ending=Ending.TIMED_OUT,
    processes=(dataclasses.replace(ROOT, ended=None, reaped=None, status=None), CHILD),
)

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
any_trace = st.sampled_from(
    [GOOD, LOST, KEPT, ZOMBIE, ALONE, BROKEN, DOUBTED, OVERRUN, INTERRUPTED, LATE]
)


def _conclude(*traces: Trace) -> Result:
    return conclude(traces, scenario="shop.open", seconds=1.5)


def test_a_finding_in_one_run_of_many_fails_the_program() -> None:
    result = _conclude(KEPT, LOST, KEPT, LOST)

    assert result.verdict is Verdict.FAILED
    assert [finding.kind for finding in result.findings] == [Kind.LOST_UPDATE]
    assert result.seen_in == (2,)
    assert result.runs == 4


def test_a_finding_is_told_as_the_first_run_that_showed_it_tells_it() -> None:
    other = dataclasses.replace(LOST, tally=Tally(15, 14))

    assert "1 of 15" in _conclude(KEPT, other, LOST).findings[0].summary


def test_what_explains_comes_before_what_it_leads_to_whenever_it_was_seen() -> None:
    kinds = [finding.kind for finding in _conclude(ZOMBIE, LOST, ZOMBIE).findings]

    assert kinds == [Kind.LOST_UPDATE, Kind.ZOMBIE]


def test_a_pass_states_its_scope() -> None:
    result = _conclude(*[GOOD] * 20)

    assert result.verdict is Verdict.PASSED
    assert result.reason == (
        "no finding in 20 free runs; each saw one interleaving, so this proves nothing about the "
        "others"
    )


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (BROKEN, "could not be judged: no space left for /dev/shm"),
        (OVERRUN, "more than 256 processes at once"),
        (INTERRUPTED, "was interrupted"),
        (DOUBTED, "may have left something: sysv-mq key 0x2a appeared"),
    ],
)
def test_one_run_that_could_not_be_judged_makes_all_of_them_an_error(
    trace: Trace, words: str
) -> None:
    result = _conclude(GOOD, trace, GOOD)

    assert result.verdict is Verdict.ERROR
    assert words in result.reason
    assert "run 2 of 3" in result.reason


@pytest.mark.parametrize("trace", [BROKEN, DOUBTED, OVERRUN, INTERRUPTED])
def test_a_finding_stands_whatever_happened_to_another_run(trace: Trace) -> None:
    result = _conclude(LOST, trace)

    assert result.verdict is Verdict.FAILED
    assert any("run 2 of 2" in note for note in result.notes)


def test_a_late_run_failed_and_is_no_error() -> None:
    result = _conclude(LATE)

    assert result.verdict is Verdict.FAILED
    assert [finding.kind for finding in result.findings] == [Kind.HANG]


def test_no_run_at_all_is_an_error() -> None:
    result = _conclude()

    assert result.verdict is Verdict.ERROR
    assert result.reason == "no run was made"


def test_a_process_that_shares_nothing_tested_nothing() -> None:
    result = _conclude(ALONE, ALONE)

    assert result.verdict is Verdict.VACUOUS
    assert "let the body start processes" in result.reason


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(dataclasses.replace(ALONE, tally=Tally(1, 1)), id="a tally"),
        pytest.param(dataclasses.replace(ALONE, tally=Messages(("a",), ("a",))), id="messages"),
        pytest.param(
            dataclasses.replace(ALONE, objects=(SharedObject(ObjectType.POSIX_SHM, "/m"),)),
            id="an object in use",
        ),
        pytest.param(
            dataclasses.replace(ALONE, processes_started=2), id="a process that nobody saw"
        ),
        pytest.param(GOOD, id="a second process"),
    ],
)
def test_anything_shared_in_any_run_makes_it_a_test(trace: Trace) -> None:
    assert _conclude(ALONE, trace).verdict is Verdict.PASSED


def test_a_helper_of_multiprocessing_is_nothing_shared() -> None:
    helper = dataclasses.replace(CHILD, helper=True)
    trace = dataclasses.replace(ALONE, processes=(ROOT, helper), processes_started=2)

    assert _conclude(trace).verdict is Verdict.VACUOUS


def test_a_lone_process_that_crashes_failed() -> None:
    crashed = dataclasses.replace(ALONE, processes=(dataclasses.replace(ROOT, status=3),))

    assert _conclude(crashed).verdict is Verdict.FAILED


def test_outcomes_count_each_result_the_most_frequent_first() -> None:
    assert _conclude(LOST, KEPT, KEPT).outcomes == (
        Outcome("15 of 15 updates", 2, allowed=True),
        Outcome("12 of 15 updates", 1, allowed=False),
    )


def test_outcomes_of_messages_name_what_went_wrong() -> None:
    messages = Messages(("hello", "world", "again"), ("hellowo", "rld"))
    kept = Messages(("hello",), ("hello",))
    traces = [dataclasses.replace(GOOD, tally=tally) for tally in (messages, kept)]

    assert set(_conclude(*traces).outcomes) == {
        Outcome("3 messages, 1 lost, 2 torn", 1, allowed=False),
        Outcome("1 message", 1, allowed=True),
    }


def test_a_run_without_a_result_is_an_outcome_too() -> None:
    failure = Failure("AssertionError", "no", "shop.py:1", "", True)
    failed = dataclasses.replace(GOOD, failure=failure)

    assert set(_conclude(KEPT, LATE, failed, BROKEN).outcomes) == {
        Outcome("15 of 15 updates", 1, allowed=True),
        Outcome("no result: timed-out", 1, allowed=False),
        Outcome("no result: AssertionError", 1, allowed=False),
    }


def test_without_any_result_there_is_no_table() -> None:
    assert _conclude(GOOD, LATE).outcomes == ()


def test_notes_of_the_runs_are_told_once() -> None:
    noted = dataclasses.replace(GOOD, notes=("fifo /tmp/x appeared",))

    assert _conclude(noted, noted).notes == ("fifo /tmp/x appeared",)


def test_what_a_stopped_run_left_is_a_note() -> None:
    left = SharedObject(ObjectType.FIFO, "/tmp/x", left=True)

    result = _conclude(dataclasses.replace(LATE, objects=(left,)))

    assert Kind.LEAK not in {finding.kind for finding in result.findings}
    assert any("fifo /tmp/x" in note for note in result.notes)


def test_what_a_run_left_by_itself_is_a_finding_and_no_note() -> None:
    left = SharedObject(ObjectType.FIFO, "/tmp/x", left=True)

    result = _conclude(dataclasses.replace(GOOD, objects=(left,)))

    assert [finding.kind for finding in result.findings] == [Kind.LEAK]
    assert result.notes == ()


def test_output_is_that_of_the_first_run_that_failed() -> None:
    printed = [
        dataclasses.replace(trace, output=text)
        for trace, text in ((KEPT, "fine"), (LOST, "ouch"), (LOST, "again"))
    ]

    assert _conclude(*printed).output == "ouch"


def test_output_of_a_run_that_could_not_be_judged_serves_where_none_failed() -> None:
    overrun = dataclasses.replace(OVERRUN, output="fork: again")
    fine = dataclasses.replace(GOOD, output="fine")

    assert _conclude(fine, overrun).output == "fork: again"
    assert _conclude(fine).output == ""


def test_a_long_output_keeps_its_end_and_says_what_was_cut() -> None:
    output = _conclude(dataclasses.replace(LOST, output="x" * 1_000_000 + "the end")).output

    assert output.startswith("[996007 of 1000007 characters are cut here]")
    assert output.endswith("the end")
    assert len(output) < 5000


def test_mode_isolation_and_parameters_are_those_of_the_runs() -> None:
    trace = dataclasses.replace(GOOD, isolation="namespaces")

    result = conclude([trace], scenario="a.b", seconds=1.5, parameters=(("writers", "3"),))

    assert (result.scenario, result.mode, result.seconds) == ("a.b", "observed", 1.5)
    assert result.isolation == "namespaces"
    assert result.parameters == (("writers", "3"),)


@untimed
@given(st.lists(any_trace, min_size=1, max_size=12), st.randoms())
def test_the_order_of_the_runs_changes_no_count_and_no_verdict(
    traces: list[Trace], random: Random
) -> None:
    shuffled = list(traces)
    random.shuffle(shuffled)
    one, other = _conclude(*traces), _conclude(*shuffled)

    assert one.verdict is other.verdict
    assert one.outcomes == other.outcomes
    assert {o.finding.identity: o.runs for o in one.occurrences} == {
        o.finding.identity: o.runs for o in other.occurrences
    }


@untimed
@given(st.lists(any_trace, max_size=12))
def test_a_finding_and_only_a_finding_means_failed(traces: list[Trace]) -> None:
    result = _conclude(*traces)
    expected = Counter(f.identity for trace in traces for f in findings(trace))

    assert {o.finding.identity: o.runs for o in result.occurrences} == expected
    assert (result.verdict is Verdict.FAILED) == bool(expected)


@untimed
@given(st.lists(any_trace, max_size=12))
def test_a_pass_means_that_every_run_could_be_judged(traces: list[Trace]) -> None:
    if _conclude(*traces).verdict is Verdict.PASSED:
        assert {trace.ending for trace in traces} == {Ending.COMPLETED}


# --- Runs under control --------------------------------------------------------------------

SHARED = controlled(read("P1", 0), write("P2", 0, 1))
ENDS = controlled(step("P1", Action.EXIT, "P1"), step("P0", Action.WAIT, "P1"))
APART = controlled(write("P1", 0, 1), write("P2", 0, 1, object="another"))
LOST_BY_STEPS = controlled(read("P1", 4), write("P2", 4, 5), write("P1", 5, 5))


def _search(*traces: Trace, proved_for: str = "") -> Result:
    series = Series()
    for trace in traces:
        series.add(essence(trace))
    return series.conclude(
        scenario="shop.open", seconds=1.5, search="random, seed 0", proved_for=proved_for
    )


def test_an_object_that_two_share_in_one_run_makes_it_a_test() -> None:
    result = _search(APART, SHARED)

    assert result.verdict is Verdict.PASSED
    assert not any("shared nothing" in note for note in result.notes)
    assert result.search == "random, seed 0"


def test_processes_that_share_nothing_are_vacuous_however_many_they_are() -> None:
    result = _search(APART, dataclasses.replace(APART, tally=Tally(1, 1)))

    assert result.verdict is Verdict.VACUOUS
    assert "a variable, a list or a dict is copied by fork" in result.reason


def test_where_only_ends_are_shared_a_pass_says_so() -> None:
    result = _search(ENDS)

    assert result.verdict is Verdict.PASSED
    (note,) = result.notes
    assert note.startswith("the processes shared nothing but their exits and signals")


def test_a_search_that_has_seen_everything_and_found_nothing_is_a_proof() -> None:
    result = _search(SHARED, proved_for="at most 2 preemptions")

    assert (result.verdict, result.exhausted) == (Verdict.PROVED, True)
    assert result.reason == ("no finding in 1 controlled run; proved for at most 2 preemptions")


@pytest.mark.parametrize(
    ("traces", "verdict"),
    [
        ([SHARED, LOST_BY_STEPS], Verdict.FAILED),
        ([APART], Verdict.VACUOUS),
        ([SHARED, dataclasses.replace(SHARED, ending=Ending.ENDLESS)], Verdict.ERROR),
        ([], Verdict.ERROR),
    ],
)
def test_to_have_seen_everything_outranks_nothing(traces: list[Trace], verdict: Verdict) -> None:
    assert _search(*traces, proved_for="all").verdict is verdict


def test_a_run_of_too_many_steps_names_who_spins_and_where() -> None:
    spinning = dataclasses.replace(read("P2", 0), where="wait.py:7")
    endless = controlled(write("P1", 0, 0), *[spinning] * 40, ending=Ending.ENDLESS)

    result = _search(SHARED, endless)

    assert result.verdict is Verdict.ERROR
    assert result.reason == (
        "run 2 of 2 was ended after 41 steps: P2 took 40 of the last 41 steps, again and again "
        "read posix-shm:/n -> 0 (wait.py:7); let it wait in a call that blocks, or allow more "
        "with --max-steps"
    )


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([read("P1", 0)], "in which it took 1 step: P1 took the last and computes since"),
        ([], "in which it took 0 steps: P0 computes and has not come to its first"),
    ],
)
def test_a_run_that_took_too_long_is_undecided_for_the_lab_itself_is_slow(
    events: list[Event], words: str
) -> None:
    late = controlled(*events, ending=Ending.TIMED_OUT, root=LATE.root)
    result = _search(SHARED, late)

    assert result.verdict is Verdict.ERROR
    assert "run 2 of 2 was ended after 10 s" in result.reason
    assert words in result.reason


def test_of_thousands_of_undecided_runs_a_few_are_told_and_the_rest_counted() -> None:
    result = _search(*[dataclasses.replace(SHARED, ending=Ending.BROKEN, trouble="no")] * 1000)

    assert "run 5 of 1000 could not be judged: no" in result.reason
    assert result.reason.endswith("; 995 other runs could not be judged either")


def test_a_telling_with_a_schedule_replaces_one_before_it() -> None:
    series = Series()
    for schedule in ("long", "", "short", ""):
        run = essence(LOST_BY_STEPS)
        told = tuple(dataclasses.replace(each, schedule=schedule) for each in run.findings)
        series.add(dataclasses.replace(run, findings=told))
    result = series.conclude(scenario="shop.open", seconds=1.5)

    assert result.findings[0].schedule == "short"
    assert result.seen_in == (4,)


def test_every_order_is_no_proof_where_something_else_was_not_varied() -> None:
    trace = dataclasses.replace(SHARED, unvaried=("it reads the clock and sleeps",))
    result = _search(trace, trace, proved_for="every order of dependent steps")

    assert (result.verdict, result.exhausted) == (Verdict.PASSED, True)
    assert result.reason == (
        "no finding in 2 controlled runs; that was every order of dependent steps, and yet is no "
        "proof: it reads the clock and sleeps"
    )


def test_what_came_twice_was_sent_all_the_same() -> None:
    messages = Messages(("a", "b"), ("a", "a", "b", "c"))
    run = essence(dataclasses.replace(SHARED, tally=messages))

    assert run.outcome == ("2 messages, 1 too many, 1 never sent", False)
