"""The documentation keeps its word: what it shows is run, and what comes out is what it shows.

The language of a fenced block says what is done with it, for the reader as for this test:

    python         a file of the page's own directory; its first line names it: `# counter.py`
    console        is run there: a line after `$ ` is a command, all others are what it prints
    sh, text, ini, yaml, json, py, diff      are shown only

Of the output, spaces do not count, a number stands for any number, and `...` for anything. A token
of a run is as long as the run, so a page shows its first letters. In the output `1abcdefg...` is
any token, and in a command (`lab replay 1abcdefg...`) the one that was printed last.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import lab.grammar
from lab.catalogue import catalogue
from lab.finding import Finding, Kind, Outcome, Result, Shrinkage, Verdict
from lab.redis_server import lacking
from lab.report.json import render, scenario_object
from lab.report.story import Code, Led, Report, Story
from lab.search.guided import Wait
from lab.search.named import NAMES as strategies  # noqa: N811  # they are words of the reference
from lab.search.strategy import Pending
from lab.trace import Action, Event, Messages, ObjectType, Tally

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = {"sh", "text", "ini", "yaml", "json", "py", "diff"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for fence in re.finditer(r"^```(\S*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield Block(fence[1], fence[2])


def commands(console: str) -> Iterator[tuple[str, str]]:
    """What a console block lets the shell do, and what it says that comes out of each."""
    assert console.startswith("$ "), f"a block of output needs its command:\n{console}"
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def with_token(command: str, printed: str) -> str:
    """The command, with the last of the tokens that were printed where it shows the first letters.

    Raises AssertionError if there was none.
    """
    if not re.search(_SHORTENED, command):
        return command
    tokens = re.findall(_PRINTED, printed)
    assert tokens, f"no token was printed before: {command}"
    return re.sub(_SHORTENED, tokens[-1], command)


_PRINTED = r"""replay(?: |\(["'])(1[\w-]{20,})"""
_SHORTENED = r"\b1[\w-]{7,}\.\.\."


def agree(shown: str, actual: str) -> bool:
    """Whether what came out is what is shown, numbers and spaces aside.

    Without any space, since a report breaks a line where a long name or path makes it, even inside.
    """
    pattern = "".join(_pattern(word) for word in shown.split())
    return re.fullmatch(pattern, "".join(actual.split())) is not None


def _pattern(word: str) -> str:
    word = re.sub(_SHORTENED, "...", word)
    numbers = re.sub(r"\d+(\\\.\d+)?", r"\\d+(\\.\\d+)?", re.escape(word))
    return numbers.replace(r"\.\.\.", ".*")


_UNDER_CONTROL = re.compile(r"lab explore|lab check|exec --explore|lab\.explore|race")
"""In a page that shows it, control is needed."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_is_what_happens(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if any(_UNDER_CONTROL.search(block.text) for block in blocks(page.read_text())):
        request.getfixturevalue("control")
    if "RedisServer" in "".join(b.text for b in blocks(page.read_text())) and (needs := lacking()):
        pytest.skip(f"the page needs {'; and '.join(needs)}")
    printed = ""
    for block in blocks(page.read_text()):
        match block.language:
            case "python":
                name = re.match(r"# ([\w/]+\.py)\n", block.text)
                assert name, f"no file is named in the first line of:\n{block.text}"
                file = tmp_path / name[1]
                file.parent.mkdir(exist_ok=True)
                file.write_text(block.text)
            case "console":
                for command, shown in commands(block.text):
                    actual = run(with_token(command, printed), tmp_path)
                    printed += actual
                    if not agree(shown, actual):
                        pytest.fail(f"$ {command}\n{shown}\ngave:\n{actual}", pytrace=False)
            case other:
                assert other in SHOWN, f"what is a block of {other!r}? see the top of this file"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_file_that_a_page_shows_is_run_by_it(page: Path) -> None:
    text = page.read_text()
    consoles = " ".join(block.text for block in blocks(text) if block.language == "console")
    files = [
        block.text.splitlines()[0].removeprefix("# ")
        for block in blocks(text)
        if block.language == "python"
    ]
    # A scenario's module is named by its stem: `lab run spool`.
    assert [file for file in files if Path(file).stem not in f"{consoles} __init__"] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_ci_runs_the_very_command_that_the_readme_gives_for_the_tests() -> None:
    (command,) = (
        line
        for block in blocks((ROOT / "README.md").read_text())
        if block.language == "sh"
        for line in block.text.splitlines()
        if "tox" in line
    )
    assert command in (ROOT / ".ci/run").read_text()


def test_the_reference_names_every_option_of_the_command_line() -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text()
    grammar = lab.grammar.grammar()
    (commands,) = (a for a in grammar._actions if isinstance(a, argparse._SubParsersAction))
    options = {
        option
        for command in commands.choices.values()
        for action in command._actions
        for option in action.option_strings
    }
    assert [name for name in commands.choices if f"`lab {name}" not in page] == []
    assert [option for option in sorted(options) if f"`{option}" not in page] == []


def test_the_reference_names_every_strategy() -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text()
    assert [name for name in strategies if f"| `{name}` |" not in page] == []


def test_the_reference_names_every_word_of_a_result() -> None:
    page = (ROOT / "docs/reference/verdicts-and-findings.md").read_text()
    assert [word for word in (*Verdict, *Kind, *ObjectType) if f"`{word}`" not in page] == []


def test_the_reference_names_every_key_of_the_json() -> None:
    page = (ROOT / "docs/reference/json.md").read_text()
    step = Event(0, "P0", Action.READ, "load")
    shrunk = Shrinkage(2, 1, 1, 10, complete=True)
    finding = Finding(Kind.LEAK, "/jobs", "It stays.", steps=(step,), shrunk=shrunk)
    result = Result("queue.left", "observed", Verdict.FAILED, 1, 0.1, (finding,), (1,))
    led = Led(result, (step,), (Wait(0, Pending("P0", Action.READ, "")),))
    story = Story(result, finding, (led,), code=(Code("queue.removed", ()),), differences=())
    whole = json.loads(render(Report((story,), stopped="Ctrl-C")))
    (plain,) = whole["results"]
    (told,), (fix,), (code,) = plain["findings"], plain["led"], plain["code"]
    keys = {*whole, *plain, *told, *told["shrunk"], *told["steps"][0], *fix, *code}
    keys |= {*fix["waits"][0]}
    keys |= scenario_object(catalogue()[0]).keys()
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_the_reference_names_all_that_the_package_offers() -> None:
    page = (ROOT / "docs/reference/python.md").read_text()
    offered = {name for name in lab.__all__ if name != "Trace"} | {
        parameter
        for function in (lab.explore, lab.replay, lab.scenario)
        for parameter in inspect.signature(function).parameters
    }
    fields = {
        field.name
        for record in (Result, Outcome, Finding, Shrinkage, Event, Tally, Messages)
        for field in dataclasses.fields(record)
    }
    assert [name for name in sorted(offered | fields) if f"`{name}" not in page] == []


@pytest.mark.parametrize(
    ("shown", "actual"),
    [
        ("3 runs in 0.5 s", "20 runs in 11 s"),
        ("a b\n  c", "a    b c\n"),
        ("a long/path", "a long/pa\n  th"),
        ("first\n...\nlast", "first\nand so on\n\nlast\n"),
        ("cut of...", "cut off"),
        ("replay 1xY-_9ab...", "replay 1Zz-_0123456789abcdefgh"),
        (". ...", ". [100%]"),
        ("(a+b) [c]", "(a+b) [c]"),
        ("", "\n"),
    ],
)
def test_what_differs_in_numbers_and_spaces_agrees(shown: str, actual: str) -> None:
    assert agree(shown, actual)


@pytest.mark.parametrize(
    ("shown", "actual"),
    [
        ("3 runs", "3 runs failed"),
        ("3 runs", "three runs"),
        ("passed", "failed"),
        ("first ... last", "first and so on"),
        ("", "something"),
    ],
)
def test_what_differs_in_words_does_not_agree(shown: str, actual: str) -> None:
    assert not agree(shown, actual)


def test_each_command_is_held_to_what_stands_below_it() -> None:
    assert list(commands("$ true\n$ seq 2\n1\n2\n")) == [("true", ""), ("seq 2", "1\n2\n")]


def test_a_shortened_token_is_the_last_that_was_printed() -> None:
    first, last = "1" + "a" * 30, "1" + "b" * 30
    printed = f'Replay: lab replay {first}\nReplay: lab.replay("{last}")\n'

    assert with_token("lab replay 1aabbcc2... --json -", printed) == f"lab replay {last} --json -"
    assert with_token("seq 1000", printed) == "seq 1000"
    with pytest.raises(AssertionError, match="no token was printed"):
        with_token("lab replay 1aabbcc2...", "Replay: ...")


def run(script: str, directory: Path) -> str:
    """What a shell prints, on both streams, when it is given these commands."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHON"))}
    scripts = sysconfig.get_path("scripts")
    environment = {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "COLUMNS": "80",
        "LC_ALL": "C.UTF-8",
        # Installed for tests of the lab's company; a reader has not asked for them.
        "PYTEST_ADDOPTS": "-p no:randomly -p no:asyncio",
    }
    return subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    ).stdout
