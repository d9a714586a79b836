"""The pytest door: fixtures that run a program, and a marker that runs a test under control.

    def test_counter(observe):
        observe(count, runs=20, writers=3).assert_clean()

    @pytest.mark.race(schedules=200)
    def test_transfer(accounts): ...

Every pytest session on a machine that has the lab loads this module, needed or not. So it imports
nothing heavy: what runs a program, and psutil with it, comes when a test first asks for it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from lab.finding import Finding, Kind, Result, Verdict
from lab.redis_server import RedisServer, taken_by
from lab.run.limits import Isolation, LabError, Limits
from lab.scenario import Scenario, declared

if TYPE_CHECKING:
    from lab.commands.running import Plan

Program: TypeAlias = str | Callable[..., Any]
"""A scenario's id, a function declared as a scenario, or any other function."""

_SEEN = pytest.StashKey[list[Result]]()


@dataclass(frozen=True)
class Observed:
    """What the lab saw of a program, and what a test may claim about it."""

    result: Result
    scenario: Scenario

    @property
    def verdict(self) -> Verdict:
        """The answer about the program."""
        return self.result.verdict

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Distinct findings, what explains before what it leads to."""
        return self.result.findings

    def assert_clean(self) -> None:
        """Fail unless the runs were judged and nothing was found.

        A result that is `vacuous` or `error` fails too: what was not observed did not pass.
        """
        __tracebackhide__ = True
        if self.verdict not in (Verdict.PASSED, Verdict.PROVED):
            raise AssertionError(f"{self.result.scenario}: expected no finding; {self._seen()}")

    def assert_finds(self, *kinds: str) -> None:
        """Fail unless each of these kinds was found in at least one run, beside others or not.

        Raises ValueError if one is no kind of finding.
        """
        __tracebackhide__ = True
        found = {finding.kind for finding in self.findings}
        absent = [kind for kind in map(_kind, kinds) if kind not in found]
        if absent or not kinds:
            wanted = ", ".join(absent) or "a finding"
            raise AssertionError(f"{self.result.scenario}: expected {wanted}; {self._seen()}")

    def assert_as_declared(self) -> None:
        """Fail unless the program does what its `@scenario` declares, as `lab check` decides it.

        A bug shows all that it expects and nothing that it may not show; a fix shows nothing.

        Raises ValueError if the program is a function that declares nothing.
        """
        __tracebackhide__ = True
        from lab.check import differences

        if not (self.scenario.expects or self.scenario.fixes):
            raise ValueError(
                f"{self.scenario.id} declares nothing to compare with; decorate it with "
                "@scenario, or use assert_clean or assert_finds"
            )
        if lines := differences(self.scenario, self.result):
            raise AssertionError("\n".join(lines))

    def _seen(self) -> str:
        if self.findings:
            told = [
                f"{seen.finding.kind} in {seen.runs} of {self.result.runs} runs: "
                f"{seen.finding.summary}"
                for seen in self.result.occurrences
            ]
            return "\n  ".join(("seen:", *told))
        return f"the verdict is {self.verdict}: {self.result.reason}"


class Observe:
    """The `observe` fixture: runs a program in sandboxes of its own and judges what it did."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def __call__(
        self,
        program: Program,
        *,
        runs: int | None = None,
        time_limit: float | None = None,
        isolation: str | None = None,
        **parameters: Any,
    ) -> Observed:
        """Run a program and return what was seen. It runs in processes forked from this one.

        Args:
            program: the id of a scenario in the catalogue ("counter.posix_guarded"), or a
                function, declared as a scenario or not. It may return a Tally or Messages.
            runs: how many; by default what `--lab-runs` or the profile says.
            time_limit: seconds for each run; by default what the scenario declares, or 10.
            isolation: "auto", "namespaces" or "snapshots"; by default what `--lab-isolation` says.
            parameters: arguments of the function.

        The test is skipped if the scenario needs something that this machine lacks.

        Raises LabError if the machine cannot run it as asked, and UnknownName or UsageError for
        a name that does not exist.
        """
        from lab.catalogue import missing
        from lab.commands.running import observed
        from lab.pytest_redis import refuse_by_hand

        refuse_by_hand(self._item)
        scenario, settings = _scenario(program, parameters)
        if lacking := missing(scenario):
            pytest.skip(_lacks(scenario, lacking))
        plan = self._plan(runs, time_limit, isolation, settings)
        (result,) = observed(scenario, plan)
        return _kept(self._item, result, scenario)

    def _plan(
        self,
        runs: int | None,
        time_limit: float | None,
        isolation: str | None,
        settings: dict[str, str],
    ) -> Plan:
        from lab.commands.running import Plan
        from lab.pytest_settings import runs as usual_runs

        config = self._item.config
        return Plan(
            runs=usual_runs(config) if runs is None else runs,
            isolation=Isolation(isolation or config.option.lab_isolation),
            time_limit=time_limit,
            settings=settings,
        )


class Race:
    """The `race` fixture: runs a program under control, by one schedule after another."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def explore(self, program: Program, **settings: Any) -> Observed:
        """Explore a program as `lab.explore` does, and return what was seen.

        Args:
            program: the id of a scenario in the catalogue, or a function.
            settings: those of `lab.explore`. What is said for the session comes before them, what
                the project says for all tests after them.

        The test is skipped where the machine refuses control, or fails with `--lab-strict`.

        Raises as `lab.explore` does.
        """
        from lab.catalogue import missing
        from lab.exploration import explore
        from lab.pytest_race import at_hand
        from lab.pytest_redis import refuse_by_hand
        from lab.pytest_settings import explore_settings

        refuse_by_hand(self._item)
        scenario, _ = _scenario(program, {})
        if lacking := missing(scenario):
            pytest.skip(_lacks(scenario, lacking))
        settings = explore_settings(settings, self._item.config)
        wanted, settings = at_hand(program, settings, self._item.config)
        result = self._controlled(lambda: explore(wanted, **settings))
        return _kept(self._item, result, scenario)

    def replay(self, token: str | Finding, program: Program, **settings: Any) -> Observed:
        """Run a program by the very schedule of a token, as `lab.replay` does.

        Skips and raises as `explore` does.
        """
        from lab.exploration import replay
        from lab.pytest_race import at_hand
        from lab.pytest_redis import refuse_by_hand
        from lab.search.token import Token

        refuse_by_hand(self._item)
        scenario, _ = _scenario(program, {})
        read = Token.read(token.schedule if isinstance(token, Finding) else token)
        settings = {"parameters": dict(read.origin.parameters), **settings}
        wanted, settings = at_hand(program, settings, self._item.config)
        result = self._controlled(lambda: replay(token, wanted, **settings))
        return _kept(self._item, result, scenario)

    def _controlled(self, run: Callable[[], Result]) -> Result:
        from lab.pytest_race import refused

        try:
            return run()
        except LabError as error:
            if refused(error, self._item.config):
                pytest.skip(str(error))
            raise


def _lacks(scenario: Scenario, lacking: Sequence[str]) -> str:
    return f"{scenario.id} needs {', '.join(lacking)}, which this machine lacks"


def _kept(item: pytest.Item, result: Result, scenario: Scenario) -> Observed:
    """Remember what was seen, to be told if the test fails."""
    item.stash.setdefault(_SEEN, []).append(result)
    # Properties, unlike sections, reach JUnit files and come back from xdist's workers.
    item.user_properties.append((f"lab:{result.scenario}", str(result.verdict)))
    return Observed(result, scenario)


@pytest.fixture
def race(request: pytest.FixtureRequest) -> Race:
    """Run a program under control, each time by another schedule, and judge what it did.

    `race.explore(program, schedules=50).assert_clean()`; `race.replay(token, program)` runs it by
    the schedule of a token.
    """
    return Race(request.node)


@pytest.fixture
def race_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis server for the test: `race_redis.client()`, `race_redis.key(name)`, `race_redis.url`.

    To a test with the marker `race` each command is one step, times to live are of the virtual
    clock, and no run sees a key of another. The server is that of REDIS_URL, the one of the extra
    [redis] or one in PATH; where there is none, the test is skipped.
    """
    from lab.pytest_redis import server_of

    with server_of(request.node) as server:
        yield server


@pytest.fixture
def observe(request: pytest.FixtureRequest) -> Observe:
    """Run a program of several processes in a sandbox, watch it, and judge what it did.

    `observe(program, runs=20, writers=3).assert_clean()`; `program` is a function or the id of a
    scenario. If the test fails, the lab's report is shown as a section of its own.
    """
    return Observe(request.node)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the group "lab"."""
    group = parser.getgroup("lab", "races between processes (race-lab)")
    group.addoption(
        "--lab-runs",
        type=int,
        metavar="N",
        help="runs of each observed program, where the test does not say (default: 3)",
    )
    group.addoption(
        "--lab-isolation",
        choices=[str(isolation) for isolation in Isolation],
        default="auto",
        help="how a run is kept apart from the machine (default: %(default)s)",
    )
    group.addoption(
        "--lab-profile",
        metavar="NAME",
        help="how much is done where no test says: dev, ci, nightly, or what [tool.lab.profile] in "
        "pyproject.toml declares",
    )
    group.addoption(
        "--lab-schedules",
        type=int,
        metavar="N",
        help="schedules that a test under control is run by, whatever its marker says",
    )
    group.addoption(
        "--lab-seed", type=int, metavar="N", help="where their random choices begin, likewise"
    )
    group.addoption("--lab-jobs", type=int, metavar="N", help="how many run at once, likewise")
    group.addoption(
        "--lab-replay",
        metavar="TOKEN|FILE",
        help="run tests under control by the schedule of this token only, or by theirs in a file: "
        "a saved schedule, or a report in JSON",
    )
    group.addoption(
        "--lab-strict",
        action="store_true",
        help="where control is refused, fail the tests that ask for it; by default each runs once "
        "and freely, and the summary says so",
    )
    group.addoption(
        "--lab-guard",
        choices=["off", "warn", "error"],
        help="tell what each test leaves behind, or fail it (default: ini lab_guard, or off)",
    )
    group.addoption(
        "--lab-guard-clean", action="store_true", help="and take it away, after it was told"
    )
    parser.addini("lab_guard", "off, warn or error: see --lab-guard", default="off")
    parser.addini("lab_guard_allow", "KIND or KIND:PATTERN that tests may leave", type="linelist")
    parser.addini("lab_guard_window", "milliseconds that things may take to go", default="100")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, read the profile and begin to guard, where that is asked for."""
    if config.option.lab_profile or os.environ.get("LAB_PROFILE"):
        from lab.pytest_settings import demand_profile

        demand_profile(config)
    if (config.option.lab_guard or config.getini("lab_guard")) != "off":
        from lab.guard.plugin import register

        register(config)
    config.addinivalue_line(
        "markers",
        "lab_guard('off' | 'warn' | 'error', allow=[...], window=MILLISECONDS): what the test may "
        "leave behind (race-lab)",
    )
    config.addinivalue_line(
        "markers",
        "race(schedules=100, strategy='auto', seed=0, ..., replay=TOKEN): run the test under "
        "control, by one schedule after another (race-lab)",
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Watch what fixtures make, if a test of the session is to run under control."""
    if any("race" in item.keywords or "race" in _fixtures(item) for item in session.items):
        from lab.pytest_surroundings import watch

        watch(session.config)


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else ()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a marked test be explored instead of being run."""
    if item.get_closest_marker("lab_guard"):
        from lab.guard.plugin import register

        register(item.config)
    marker = item.get_closest_marker("race")
    if marker is None or not isinstance(item, pytest.Function):
        return (yield)
    from lab.pytest_race import under_control

    with under_control(item, marker):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the lab's reports with a test that failed."""
    report = yield
    if report.failed:
        from lab.report.terminal import render

        for result in item.stash.get(_SEEN, []):
            report.sections.append((f"lab: {result.scenario}", render(result)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests ran under no control, for that is no pass of theirs."""
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    if not any(name == "lab:uncontrolled" for each in reports for name, _ in each.user_properties):
        return
    from lab.pytest_race import uncontrolled

    terminalreporter.section("race-lab", yellow=True)
    for line in uncontrolled(reports):
        terminalreporter.line(line)


def _scenario(program: Program, parameters: dict[str, Any]) -> tuple[Scenario, dict[str, str]]:
    """The scenario to run, and those of its parameters that it is left to read."""
    scenario = _in_catalogue(program) if isinstance(program, str) else declared(program)
    if scenario is not None:
        return scenario, {name: str(value) for name, value in parameters.items()}
    assert callable(program)
    # A function that declares nothing takes any value, and is held to nothing.
    body = functools.partial(program, **parameters)
    return Scenario(
        family=program.__module__.rpartition(".")[2],
        name=getattr(program, "__name__", type(program).__name__),
        body=body,
        expects=frozenset(),
        may_show=frozenset(),
        fixes="",
        parameters=(),
        needs=(),
        zombie_after=Limits.zombie_after,
        time_limit=Limits.seconds,
        server=taken_by(body),
    ), {}


def _in_catalogue(name: str) -> Scenario:
    from lab.catalogue import UnknownName, select

    found = select([name])
    if len(found) > 1:
        ids = ", ".join(scenario.id for scenario in found)
        raise UnknownName(f"{name} is a family; observe one scenario at a time, one of: {ids}")
    return found[0]


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        raise ValueError(f"{name!r} is no kind of finding; kinds are: {', '.join(Kind)}") from None
