"""Reports of every shape, with the names and values that a hostile program would choose."""

from __future__ import annotations

import dataclasses

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from lab.finding import Finding, Kind, Outcome, Result, Shrinkage, Verdict
from lab.known import Known
from lab.report.story import Code, Led, Report, Story
from lab.search.guided import Wait
from lab.search.strategy import Pending
from lab.trace import Action, Event

FEW = settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
"""Reports are large: to shrink one takes minutes, and the message of a failure tells enough."""
HOSTILE = (
    "",
    "/counter",
    "<script>alert(1)</script>",
    "</script><!--",
    "]]>",
    "\x1b[31mred\x1b]0;title\x07",
    "\x00\x08\x0b\x1f\x7f\x85\u2028",
    "a\r\nb\n::error file=a.py::pwned",
    "::stop-commands::x",
    "##[error]x",
    "100%0A%25",
    "| a | b |\n|---|---|",
    "```\n# heading\n![x](http://x)",
    "`` ` ```` <img src=x onerror=y>",
    "[x](javascript:y) *b* _i_ \\",
    "\u202eright to left",
    "\ufffe\uffff\U0010ffff",
    "é" * 200,
    "漢" * 80,
)
texts = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
"""Without lone surrogates, which JSON cannot hold: those have a test of their own."""
numbers = st.integers(0, 1 << 40)
seconds = st.floats(0, 1e6)
names = st.sampled_from(("P0", "P1", "P1.2", "P2", "P10")) | texts
places = st.sampled_from(("", "scenarios/counter.py:31", "/a b/c.py:0", "x:y:3")) | texts

pendings = st.builds(
    Pending,
    process=names,
    action=st.sampled_from(Action),
    object=texts,
    offset=numbers,
    size=numbers,
    also=st.tuples(texts) | st.just(()),
    waits=st.booleans(),
    timed=st.booleans(),
)
shrinkages = st.builds(
    Shrinkage,
    before=numbers,
    after=numbers,
    preemptions=numbers,
    runs=numbers,
    complete=st.booleans(),
)


@st.composite
def runs(draw: st.DrawFn, most: int = 12) -> tuple[Event, ...]:
    """The steps of a run, numbered from anywhere on."""
    first = draw(st.integers(0, 5))
    events = st.builds(
        Event,
        step=st.just(0),
        process=names,
        action=st.sampled_from(Action),
        call=texts,
        object=st.sampled_from(("pipe:1", "posix-mq:/q", "P1", "sysv-sem:0")) | texts,
        offset=numbers,
        size=numbers,
        before=st.binary(max_size=9),
        after=st.binary(max_size=9),
        result=st.none() | st.integers(-40, 40),
        where=places,
        time=seconds,
        also=st.tuples(texts) | st.just(()),
        waits=st.booleans(),
        timed=st.booleans(),
    )
    drawn = draw(st.lists(events, max_size=most))
    return tuple(_numbered(event, number) for number, event in enumerate(drawn, first))


def _numbered(event: Event, number: int) -> Event:
    return dataclasses.replace(event, step=number)


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    """A finding, with steps or without."""
    steps = draw(runs())
    numbered = [event.step for event in steps]
    keys = draw(st.lists(st.sampled_from(numbered), unique=True, max_size=4)) if steps else []
    return draw(
        st.builds(
            Finding,
            kind=st.sampled_from(Kind),
            object=texts,
            summary=texts,
            subject=texts,
            processes=st.lists(names, max_size=3).map(tuple),
            advice=texts,
            details=st.lists(texts, max_size=3).map(tuple),
            key_steps=st.just(tuple(sorted(keys))),
            schedule=texts,
            steps=st.just(steps),
            shrunk=st.none() | shrinkages,
        )
    )


@st.composite
def results(draw: st.DrawFn) -> Result:
    """A result of any verdict."""
    found = tuple(draw(st.lists(findings(), max_size=2)))
    others = [each for each in Verdict if each is not Verdict.FAILED]
    return Result(
        draw(texts),
        draw(st.sampled_from(("observed", "controlled"))),
        Verdict.FAILED if found else draw(st.sampled_from(others)),
        draw(numbers),
        draw(seconds),
        found,
        tuple(draw(numbers) for _ in found),
        reason=draw(texts),
        notes=tuple(draw(st.lists(texts, max_size=2))),
        outcomes=tuple(
            draw(
                st.lists(
                    st.builds(
                        Outcome, result=texts, runs=st.integers(1, 1000), allowed=st.booleans()
                    ),
                    max_size=3,
                )
            )
        ),
        output=draw(texts),
        isolation=draw(texts),
        parameters=tuple(draw(st.dictionaries(texts, texts, max_size=2)).items()),
        search=draw(texts),
        exhausted=draw(st.booleans()),
        saved=draw(numbers),
        stale=draw(st.tuples(texts) | st.just(())),
        elsewhere=draw(st.tuples(texts) | st.just(())),
        lacking=draw(st.tuples(texts) | st.just(())),
    )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A result, perhaps with a fix led along."""
    result = draw(results())
    waits = st.lists(st.builds(Wait, step=numbers, pending=pendings), max_size=2).map(tuple)
    led = st.lists(st.builds(Led, result=results(), events=runs(), waits=waits), max_size=1)
    story = Story(
        result,
        draw(st.sampled_from(result.findings)) if result.findings else None,
        tuple(draw(led)),
        draw(texts),
        tuple(draw(st.lists(st.builds(Code, fix=texts, lines=st.tuples(texts)), max_size=1))),
        draw(places),
        *draw(
            st.just((None, False))
            | st.tuples(st.lists(texts, max_size=2).map(tuple), st.booleans())
        ),
    )
    known = tuple(each for each in result.findings if draw(st.booleans()))
    return dataclasses.replace(story, known=known)


gone = st.builds(
    Known,
    program=texts,
    kind=st.sampled_from(Kind),
    subject=texts,
    object=texts,
    fingerprint=texts,
)
reports = st.builds(
    Report,
    stories=st.lists(stories(), max_size=2).map(tuple),
    sources=st.dictionaries(texts, st.dictionaries(numbers, texts, max_size=2), max_size=2),
    stopped=texts,
    gone=st.none() | st.lists(gone, max_size=2).map(tuple),
)
