from __future__ import annotations

from lab.detect import findings
from lab.finding import Kind
from lab.trace import Ending, Failure, ObjectType, SharedObject, Tally
from tests.detect.builders import ROOT, child, run

BAD_IN_MANY_WAYS = run(
    child("P1", ended=0.5),
    child("P2", orphaned=0.5),
    objects=(SharedObject(ObjectType.POSIX_MQ, "/jobs", left=True, messages=("red",)),),
    tally=Tally(15, 12),
)


def test_a_good_run_has_no_finding() -> None:
    good = run(
        child(ended=1.0, reaped=1.0, status=0),
        tally=Tally(15, 15),
        objects=(SharedObject(ObjectType.POSIX_SHM, "/m", used_by=("P0", "P1")),),
    )

    assert findings(good) == ()


def test_what_went_wrong_comes_before_what_was_left_lying_about() -> None:
    assert [finding.kind for finding in findings(BAD_IN_MANY_WAYS)] == [
        Kind.LOST_UPDATE,
        Kind.MESSAGE_LOSS,
        Kind.ORPHAN,
        Kind.ZOMBIE,
        Kind.LEAK,
    ]


def test_each_thing_is_found_once() -> None:
    identities = [finding.identity for finding in findings(BAD_IN_MANY_WAYS)]

    assert len(identities) == len(set(identities))


def test_a_trace_of_a_broken_sandbox_is_no_evidence() -> None:
    failure = Failure("ValueError", "no", "shop.py:31", "", False)

    assert findings(run(failure=failure, ending=Ending.BROKEN)) == ()
    assert findings(run(failure=failure)) != ()


def test_no_finding_carries_a_pid_in_its_identity() -> None:
    for finding in findings(BAD_IN_MANY_WAYS):
        assert not any(str(p.pid) in " ".join(finding.identity) for p in (ROOT, child()))
