"""What the guard says: with a test, and once for the whole session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

from lab.guard.leak import Leak


def section(left: Sequence[Leak], cleaned: Sequence[str]) -> str:
    """What one test left, a line for each; `cleaned` says of each what was done about it."""
    lines = [f"This test left {_things(len(left))} behind:"]
    for number, leak in enumerate(left):
        done = f" [{cleaned[number]}]" if cleaned else ""
        lines.append(f"  {leak}{done}")
    if len(whose := {leak.birth.owner for leak in left}) == 1 and (owner := whose.pop()):
        lines[0] = f"The {owner} was finished and left {_things(len(left))} behind:"
    lines.append(
        "Have it closed, ended or removed on every path (with, or a fixture that yields); what\n"
        "may stay is allowed by lab_guard_allow, or @pytest.mark.lab_guard(allow=[...])."
    )
    return "\n".join(lines)


def table(found: Sequence[tuple[str, str, str]], tests: int) -> Iterator[str]:
    """The session's leaks: test, kind, what; then how many of each kind.

    Args:
        found: of each, the test, the name of the property and its text.
        tests: how many were looked at.
    """
    sure = [(test, name.removeprefix(_SURE), told) for test, name, told in found if _SURE in name]
    wide = max((len(kind) for _, kind, _ in sure), default=0)
    test = ""
    for nodeid, kind, told in sure:
        if nodeid != test:
            test = nodeid
            yield test
        yield f"  {kind:<{wide}}  {told.removeprefix(kind).strip()}"
    for told, during in _doubts(found).items():
        others = f" and {_tests(len(during) - 1)} beside it" if len(during) > 1 else ""
        yield f"{told} appeared during {during[0]}{others}; nothing tells who made it"
    if sure:
        kinds = ", ".join(
            f"{count} {kind}" for kind, count in Counter(k for _, k, _ in sure).items()
        )
        culprits = len({nodeid for nodeid, _, _ in sure})
        yield f"{_things(len(sure))} left behind by {culprits} of {_tests(tests)}: {kinds}"
    else:
        yield f"{_tests(tests)} left nothing behind"


def _doubts(found: Sequence[tuple[str, str, str]]) -> dict[str, list[str]]:
    """What nothing tells the maker of, and the tests during which it appeared.

    Of workers side by side each sees what the others' tests made, and only one knows it for its
    test's: what that one told is no doubt any more.
    """
    known: set[str] = set()
    doubts: dict[str, list[str]] = {}
    for nodeid, name, told in found:
        if name.startswith(_DOUBT):
            doubts.setdefault(told, []).append(nodeid)
            continue
        # That it is an ordinary file, opened by Python, only its own worker has heard.
        for said in (told, told.replace("temp-file /dev/shm/", "posix-shm /", 1)):
            known.update(accumulate(said.split(", "), "{}, {}".format))
    return {told: tests for told, tests in doubts.items() if told not in known}


def property_of(leak: Leak) -> str:
    """The name of the property by which a leak is told to JUnit and to xdist's controller."""
    return f"{_DOUBT if leak.doubtful else _SURE}{leak.kind}"


def is_property(name: str) -> bool:
    """Whether it is such a name."""
    return name.startswith((_SURE, _DOUBT))


_SURE, _DOUBT = "lab-guard:", "lab-guard-doubt:"


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"


def _things(count: int) -> str:
    return "1 thing" if count == 1 else f"{count} things"
