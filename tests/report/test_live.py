from __future__ import annotations

from lab.look import Look, Thing
from lab.report.live import render
from lab.report.style import Style, columns
from lab.trace import Blocked, Ending, Process, Trace


def process(number: int, parent: str = "P0", **more: object) -> Process:
    known: dict[str, object] = {"command": "python jobs.py", "started": 0.0, **more}
    return Process(f"P{number}", 100 + number, parent if number else "", **known)  # type: ignore[arg-type]


def waits(name: str, call: str, thing: str, event: str, *on: str, timed: bool = False) -> Blocked:
    return Blocked(name, call, thing, event, 2.0, timed, on)


def look(
    *processes: Process,
    blocked: tuple[Blocked, ...] = (),
    ending: Ending = Ending.INTERRUPTED,
    things: tuple[Thing, ...] = (),
    states: tuple[tuple[str, str], ...] = (),
    lines: tuple[tuple[str, str], ...] = (),
    unmoved: float | None = None,
    notes: tuple[str, ...] = (),
) -> Look:
    trace = Trace("python jobs.py", "observed", ending, 10.0, processes, blocked=blocked)
    return Look(trace, things, states, lines, unmoved, notes)


DEADLOCK = look(
    process(0),
    process(1),
    process(2),
    blocked=(
        waits("P0", "wait4", "", "the exit of P1", "P1"),
        waits("P1", "flock", "/a", "the lock's holder to release it", "P2"),
        waits("P2", "flock", "/b", "the lock's holder to release it", "P1"),
    ),
    ending=Ending.STUCK,
    things=(Thing("lock", "/a", "held", ("P2",)), Thing("lock", "/b", "held", ("P1",))),
    lines=(("P1", "jobs.py:31 in add"),),
    unmoved=8.0,
)


def test_a_deadlock_comes_before_all_the_rest() -> None:
    title, alarm, *_ = render(DEADLOCK).splitlines()
    assert title == "watching python jobs.py" + " " * 51 + "10.0 s"
    assert alarm == "  ✗ DEADLOCK: P1 and P2 each wait for what only another of them could bring"


def test_each_process_tells_where_it_stands_for_how_long_and_for_what() -> None:
    text = render(DEADLOCK)
    assert "  P0          100     8.0 s   in wait4, waits for the exit of P1\n" in text
    assert "    P1        101     8.0 s   in flock on /a, waits for the lock's holder to" in text
    assert "\n                              at jobs.py:31 in add\n" in text


def test_a_thing_tells_its_fill_who_waits_for_it_and_who_has_it() -> None:
    assert "  lock          /a                       held; → P1 waits; P2\n" in render(DEADLOCK)


def test_a_hang_names_the_event_that_nobody_brings() -> None:
    stuck = look(
        process(0),
        blocked=(waits("P0", "openat", "/tmp/f", "a reader to open it"),),
        ending=Ending.STUCK,
        unmoved=3.0,
    )
    assert "✗ HANG: P0 waits for a reader to open it (openat on /tmp/f), and nobody" in render(
        stuck
    )


def test_what_may_go_on_by_itself_is_no_hang() -> None:
    idle = look(process(0), blocked=(waits("P0", "poll", "", "an event", timed=True),), unmoved=3.0)
    text = render(idle)
    assert "HANG" not in text
    assert "? nobody has moved for 3.0 s; a time limit, a signal or somebody outside" in text


def test_a_zombie_is_an_alarm_only_when_its_parent_has_had_its_time() -> None:
    late = process(1, ended=1.0, zombie=1.0, status=3)
    fresh = process(2, ended=9.9, zombie=9.9, status=-9)
    text = render(look(process(0), late, fresh, states=(("P0", "runs"),)), width=100)
    assert "✗ ZOMBIE: P1; P0 has not waited\n" in text
    assert "P1        101     9.0 s   ✗ zombie: ended with status 3, and P0 has not waited" in text
    assert "P2        102     0.1 s   ✗ zombie: ended with signal 9, and P0 has not waited" in text


def test_a_zombie_goes_with_its_parent() -> None:
    text = render(look(process(0, ended=5.0, status=1), process(1, ended=1.0, zombie=1.0)))
    assert "zombie" not in text.lower()
    assert "P0 has ended with status 1; nobody is left" in text


def test_an_orphan_stands_at_the_edge() -> None:
    orphan = process(2, "P1", orphaned=4.0, command="sleep 60")
    text = render(look(process(0), process(1, ended=4.0, reaped=4.1), orphan))
    assert "✗ ORPHAN: P2; the parent has ended" in text
    assert "\n  P2          102" in text


def test_a_pipe_shows_which_way_it_goes() -> None:
    pipe = Thing("pipe", "pipe:[7]", "65536 of 65536 bytes", ("P0", "P1"), ("P0",), (), flows=True)
    assert "65536 of 65536 bytes; P0 > nobody" in render(look(process(0), things=(pipe,)))


def test_empty_pipes_are_counted_unless_somebody_waits_for_one() -> None:
    idle = Thing("pipe", "pipe:[7]", "0 of 65536 bytes", ("P0",), ("P0",), ("P0",), True, True)
    awaited = Thing("pipe", "pipe:[8]", "0 of 65536 bytes", ("P0",), ("P0",), ("P0",), True, True)
    text = render(
        look(
            process(0),
            things=(idle, awaited),
            blocked=(waits("P0", "read", "pipe:[8]", "a writer to write"),),
        )
    )
    assert "pipe:[7]" not in text
    assert "pipe:[8]" in text
    assert "and 1 thing empty that nobody waits for" in text


def test_a_look_fits_on_its_screen_and_counts_what_does_not() -> None:
    many = look(
        *(process(number) for number in range(60)),
        blocked=DEADLOCK.trace.blocked,
        ending=Ending.STUCK,
        things=tuple(Thing("lock", f"/{n}", "held", ("P1",)) for n in range(60)),
        notes=("A note.",),
    )
    for height in (12, 24, 50):
        lines = render(many, width=60, height=height).splitlines()
        assert len(lines) <= height
        assert all(columns(line) <= 60 for line in lines)
        assert any("DEADLOCK" in line for line in lines)
        assert sum("more lines, not shown" in line for line in lines) == 2


def test_what_a_program_is_called_cannot_drive_the_terminal() -> None:
    evil = "\x1b[2Jjobs\n\u202e"
    text = render(
        look(
            process(0, command=evil),
            things=(Thing("lock", evil, evil, ("P0",)),),
            lines=(("P0", evil),),
            blocked=(waits("P0", evil, evil, evil),),
            notes=(evil,),
        ),
        Style(),
    )
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_of_a_long_path_its_end_is_shown() -> None:
    lock = Thing("lock", "/a/very/long/path/to/the/file.lock", "held", ("P0",))
    assert "  lock          ...path/to/the/file.lock held; P0" in render(
        look(process(0), things=(lock,))
    )
