"""The guard in a pytest session: hooks around each test and each wider fixture.

Loaded when the guard is on, and not before: a session without it pays nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from typing import Any

import pytest

from lab.guard.births import Births
from lab.guard.guard import Guard
from lab.guard.leak import Leak
from lab.guard.look import Looker
from lab.guard.settings import Chooser, Mode
from lab.guard.telling import is_property, property_of, section, table

NAME = "lab-guard"
_SECTION = pytest.StashKey[str]()
_FAILURE = pytest.StashKey[Any]()


class GuardPlugin:
    """The hooks. In xdist's controller no test runs, and only the table is printed."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the settings; the guard itself begins with the first test."""
        self._config = config
        self._chooser = Chooser(config)
        self._guard: Guard | None = None
        self._found: list[tuple[str, str, str]] = []
        self._tests = 0
        self._private = False

    def _begun(self) -> Guard:
        if self._guard is None:
            self._guard = self._begin()
        return self._guard

    def _begin(self) -> Guard:
        from lab.kernel.queue_list import queue_directory

        config = self._config
        # A test may have its working directory anywhere; what matters is where the session began.
        places = dict.fromkeys(map(os.path.realpath, (tempfile.gettempdir(), "/tmp", ".")))
        births = Births()
        looker = Looker(births, tuple(places), queue_directory())
        guard = Guard(looker, births, private=self._private)
        factory = getattr(config, "_tmp_path_factory", None)
        if factory is not None:
            # Not getbasetemp(), which makes it: most sessions of quick tests never do.
            births.basetemp = lambda: str(getattr(factory, "_basetemp", None) or "")
        return guard

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Where tests run: have tables of one's own, before anything is made in them."""
        config = self._config
        controls = not hasattr(config, "workerinput") and config.getoption("dist", "no") != "no"
        # Inside a test of another session, this may be that session's process.
        nested = "PYTEST_CURRENT_TEST" in os.environ
        if not controls and not nested and config.option.lab_isolation != "snapshots":
            from lab.guard.privacy import step_aside

            self._private = step_aside(str(config.rootpath))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        """Look before the test."""
        self._begun().begin()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Know what a wider fixture makes."""
        if fixturedef.scope == "function":
            return (yield)
        place = getattr(request.node, "obj", None)
        with self._begun().fixture(_owner(fixturedef), place) as own:
            value = yield
            own(value)
        return value

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """What a wider fixture made is to be gone."""
        if self._guard is not None and fixturedef.scope != "function":
            self._guard.finished(_owner(fixturedef))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Look after the test: fail it here, in its own teardown."""
        raised: BaseException | None = None
        result = None
        try:
            result = yield
        except BaseException as error:  # noqa: BLE001  # it is raised again below
            raised = error
        told = self._judge(item)
        if raised is not None:
            raise raised
        if told:
            pytest.fail(told, pytrace=False)
        return result

    def _judge(self, item: pytest.Item) -> str:
        """What to fail the test with; "" if it is not to fail."""
        settings = self._chooser.of(item)
        guard = self._begun()
        failure = item.stash.get(_FAILURE, None)
        patience = settings.patience if settings.mode is not Mode.OFF else 0.0
        left = [leak for leak in guard.end(patience, failure) if leak not in settings.allowed]
        if not left or settings.mode is Mode.OFF:
            return ""
        # Properties, unlike sections, reach JUnit files and come back from xdist's workers.
        item.user_properties += [(property_of(leak), str(leak)) for leak in left]
        left = [leak for leak in left if not leak.doubtful]
        if not left:
            return ""
        told = section(left, self._cleaned(left))
        if settings.mode is Mode.ERROR:
            return told
        item.stash[_SECTION] = told
        return ""

    def _cleaned(self, left: list[Leak]) -> list[str]:
        if not self._config.option.lab_guard_clean:
            return []
        from lab.guard.cleaning import clean

        done = [clean(leak) for leak in left]
        for leak in left:
            self._begun().forget(leak)
        return done

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show what a test left in a section of its own."""
        if call.when == "call" and call.excinfo is not None:
            item.stash[_FAILURE] = call.excinfo.value
        report = yield
        if call.when == "teardown":
            item.stash.setdefault(_FAILURE, None)
            del item.stash[_FAILURE]
            if told := item.stash.get(_SECTION, ""):
                report.sections.append(("lab guard", told))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect for the table, in the controller too."""
        if report.when == "teardown":
            self._tests += 1
            self._found += [
                (report.nodeid, name, str(value))
                for name, value in report.user_properties
                if is_property(name)
            ]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print one table for the whole session."""
        if self._tests:
            terminalreporter.section("lab guard")
            for line in table(self._found, self._tests):
                terminalreporter.write_line(line)
            if not _lists_queues():
                terminalreporter.write_line(
                    "POSIX queues were not looked for: nothing lists them to this user here"
                )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Leave nothing behind; what takes a moment goes on during the summary."""
        if self._guard is not None and self._guard.pid == os.getpid():
            self._guard.stop()
            self._guard = None


def _lists_queues() -> bool:
    from lab.kernel.queue_list import queue_directory

    directory = queue_directory()
    if directory is not None:
        os.close(directory)
    return directory is not None


def _owner(definition: pytest.FixtureDef[Any]) -> str:
    return f"fixture {definition.argname} ({definition.scope})"


def register(config: pytest.Config) -> None:
    """Let the guard watch this session, if it does not already.

    Raises pytest.UsageError for settings that are none.
    """
    if not config.pluginmanager.has_plugin(NAME):
        config.pluginmanager.register(GuardPlugin(config), NAME)
