"""Who says how much is done in a session: options, environment, marker, profile, project."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from lab import pytest_settings
from lab.pytest_settings import explore_settings

Configured = Callable[..., pytest.Config]

PROJECT = """
[tool.lab]
schedules = 1
seed = 1
jobs = 1
strategy = "pos"
saved = "schedules"
[tool.lab.profile.ci]
schedules = 2
seed = 2
[tool.lab.profile.weekly]
runs = 9
"""
MISSING = (
    "there is no profile 'weekly'; there are: ci, dev, nightly. pyproject.toml can declare one: "
    "[tool.lab.profile.weekly]"
)


@pytest.fixture
def configured(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Configured:
    """A session with this project file, environment and command line."""

    def configure(
        *options: str, project: str = PROJECT, environment: Mapping[str, str] | None = None
    ) -> pytest.Config:
        pytester.makepyprojecttoml(project)
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        return pytester.parseconfig(*options)

    return configure


def test_what_is_nearer_to_the_session_outranks_what_is_further(configured: Configured) -> None:
    config = configured(
        "--lab-profile=ci", "--lab-schedules=5", environment={"LAB_SCHEDULES": "4", "LAB_SEED": "4"}
    )

    settings = explore_settings({"schedules": 3, "seed": 3, "jobs": 3}, config)

    assert settings == {
        "schedules": 5,  # the command line
        "seed": 4,  # the environment
        "jobs": 3,  # the test
        "strategy": "pos",  # the project
        "saved": config.rootpath / "schedules",
    }
    assert explore_settings({}, configured("--lab-profile=ci"))["schedules"] == 4
    assert pytest_settings.strict(config)  # as the built-in profile has it


def test_a_profile_outranks_the_rest_of_the_table(configured: Configured) -> None:
    assert explore_settings({}, configured("--lab-profile=ci"))["schedules"] == 2
    assert explore_settings({}, configured("--lab-profile=dev"))["schedules"] == 30
    assert pytest_settings.runs(configured("--lab-profile=weekly")) == 9


def test_without_a_project_file_built_in_profiles_are_there(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfig("--lab-profile=nightly")

    assert explore_settings({}, config) == {"schedules": 2000}
    assert pytest_settings.runs(pytester.parseconfig()) == 3


@pytest.mark.parametrize(
    ("project", "options", "message"),
    [
        (
            "[tool.lab]\nschedule = 3",
            ["--lab-profile=ci"],
            "pyproject.toml: [tool.lab] has no setting 'schedule'; nearest: schedules",
        ),
        (
            "[tool.lab.profile.ci]\nseed = 'one'",
            ["--lab-profile=dev"],
            "pyproject.toml: [tool.lab.profile.ci]: seed = 'one'; it takes a whole number",
        ),
        (
            "[tool.lab]\nprofile.ci = 3",
            ["--lab-profile=ci"],
            "pyproject.toml: [tool.lab.profile.ci] is no table",
        ),
        (
            "",
            ["--lab-profile=weekly"],
            MISSING,
        ),
    ],
)
def test_a_mistake_is_told_once_in_one_line(
    configured: Configured, project: str, options: list[str], message: str
) -> None:
    config = configured(*options, project=project)

    with pytest.raises(pytest.UsageError) as told:
        pytest_settings.demand_profile(config)
    assert str(told.value) == message


def test_a_wrong_profile_ends_the_session_before_it_begins(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--lab-profile=weekly")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: there is no profile 'weekly'; there are: ci, dev, *"])


def test_a_mistake_in_the_environment_is_told_too(configured: Configured) -> None:
    config = configured(environment={"LAB_STRICT": "perhaps"})

    with pytest.raises(ValueError, match="LAB_STRICT is 'perhaps'; it takes true or false"):
        explore_settings({}, config)
