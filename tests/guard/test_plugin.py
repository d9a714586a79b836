"""The guard in somebody's pytest session: what is found, who is blamed, what is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guard.sessions import CLEANS, DOUBT, EXPECTED, PLANT, Told, junit, session


def at(line: str, below: int = 0) -> str:
    """The place of a line in the plant, or of one that lies below it."""
    lines = PLANT.read_text().splitlines()
    (number,) = (number for number, text in enumerate(lines, 1) if text.startswith(f"{line}("))
    return f"test_planted.py:{number + below}"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Told:
    place = tmp_path_factory.mktemp("planted")
    return session(place, *CLEANS, test_planted=PLANT.read_text())


def test_the_plant_is_worth_the_name() -> None:
    assert len([test for test, kinds in EXPECTED.items() if kinds]) >= 20


@pytest.mark.parametrize("test", EXPECTED)
def test_each_leak_fails_the_test_that_made_it_and_no_other(planted: Told, test: str) -> None:
    if EXPECTED[test] == ["posix-mq"] and os.geteuid() != 0:
        pytest.skip("only root can list the POSIX queues wherever they are mounted, or not")
    doubted = [kind for kind in planted.kinds(test) if kind.startswith(DOUBT)]
    if os.geteuid() == 0:  # with tables of its own there is no doubt
        assert doubted == []
    assert [kind.removeprefix(DOUBT) for kind in planted.kinds(test)] == EXPECTED[test]
    assert (test in planted.failed) == bool(EXPECTED[test] and not doubted)


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (
            "test_zombie",
            f"made at {at('def test_zombie', 2)}, nobody waited for it, it ended with 3",
        ),
        ("test_program", "child sleep 60 (PID "),
        ("test_daemon", "orphan fork of the test process (PID "),
        ("test_shared_memory", "made at test_planted.py:"),
        ("test_unix_socket", "made at test_planted.py:"),
        ("test_open_file", "made at test_planted.py:"),
        ("test_socket", "(127.0.0.1:"),
        ("test_handler", f"SIGUSR1, made at {at('def handler')}, handler in place of SIG_DFL"),
        ("test_thread", f"it runs nap ({at('def nap')})"),
    ],
)
def test_a_leak_is_told_with_what_is_known_of_it(planted: Told, test: str, said: str) -> None:
    ((_, told),) = planted.leaks[test]
    assert said in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can attribute every object of the plant")
def test_the_session_has_one_table(planted: Told) -> None:
    count = sum(map(len, EXPECTED.values()))
    assert planted.output.count("= lab guard =") == 1
    assert f"{count} things left behind by {count - 1} of {len(EXPECTED)} tests" in planted.output


PIPE = "import os, pytest\ndef test_it(): os.pipe()\n"


def inline(pytester: pytest.Pytester, *options: str, marker: str = "", test: str = PIPE) -> str:
    """What a session in this process prints; it is short, so it starts no other."""
    marked = test.replace("def", f"@pytest.mark.lab_guard({marker})\ndef") if marker else test
    pytester.makepyfile(test_it=marked)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options).stdout.str()


def test_a_clean_suite_is_told_so(pytester: pytest.Pytester) -> None:
    output = inline(pytester, "--lab-guard=error", test="def test_it(): pass")
    assert "1 test left nothing behind" in output
    assert "1 passed" in output


def test_no_guard_no_word(pytester: pytest.Pytester) -> None:
    assert "= lab guard =" not in inline(pytester)


def test_a_warning_fails_nothing_and_is_in_the_table(pytester: pytest.Pytester) -> None:
    output = inline(pytester, "--lab-guard=warn")
    assert "2 things left behind by 1 of 1 test: 2 fd" in output
    assert "1 passed in" in output


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_a_junit_file_of_either_family_has_the_leaks_of_a_test_that_fails_too(
    pytester: pytest.Pytester, family: str
) -> None:
    failing = f"{PIPE}def test_other():\n    os.pipe()\n    assert 0\n"
    options = ("--junitxml=junit.xml", "-o", f"junit_family={family}")
    inline(pytester, "--lab-guard=warn", *options, test=failing)
    leaks, failed = junit(pytester.path / "junit.xml")
    assert {test: [kind for kind, _ in left] for test, left in leaks.items()} == {
        "test_it": ["fd", "fd"],
        "test_other": ["fd", "fd"],
    }
    assert failed == {"test_other"}
    assert all(told.startswith("fd pipe:[") for left in leaks.values() for _, told in left)


@pytest.mark.parametrize(
    ("options", "marker", "fails"),
    [
        (["-o", "lab_guard=error"], "", True),
        (["-o", "lab_guard=error", "--lab-guard=warn"], "", False),
        (["--lab-guard=error"], "'warn'", False),
        (["--lab-guard=error"], "'off'", False),
        (["--lab-guard=warn"], "'error'", True),
        ([], "'error'", True),
        (["--lab-guard=error"], "allow='fd:pipe:*'", False),
        (["--lab-guard=error"], "allow=['fd:/tmp/*', 'thread']", True),
        (["--lab-guard=error", "-o", "lab_guard_allow=fd:pipe*"], "", False),
    ],
)
def test_a_marker_comes_before_the_command_line_and_that_before_the_file(
    pytester: pytest.Pytester, options: list[str], marker: str, fails: bool
) -> None:
    output = inline(pytester, *options, marker=marker)
    assert ("1 passed, 1 error" if fails else "1 passed in") in output


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("'loud'", "the marker is lab_guard("),
        ("why='because'", "it was given why"),
        ("allow='fds'", "'fds' allows no kind of leak"),
    ],
)
def test_a_wrong_marker_is_told_in_a_line(
    pytester: pytest.Pytester, marker: str, said: str
) -> None:
    output = inline(pytester, marker=marker)
    assert said in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("lab_guard=loud", "lab_guard takes off, warn or error"),
        ("lab_guard_window=long", "lab_guard takes off, warn or error"),
        ("lab_guard_allow=fds", "'fds' allows no kind of leak"),
    ],
)
def test_a_wrong_setting_ends_the_session_with_a_line(
    pytester: pytest.Pytester, setting: str, said: str
) -> None:
    guarded = () if setting.startswith("lab_guard=") else ("--lab-guard=warn",)
    result = pytester.runpytest_inprocess(*guarded, "-o", setting)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


FIXTURES = """
import concurrent.futures, http.server, os, socketserver, subprocess, threading, urllib.request
import _thread, unittest
import pytest

class Member:  # a process with its pipes, and a thread that nobody announces
    def __init__(self):
        self.process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ended = threading.Event()
        _thread.start_new_thread(self.serve, ())
    def serve(self):
        self.process.stdout.read()
        self.ended.set()

class Group:
    def __init__(self):
        self.members = []
    def end(self):
        for member in self.members:
            member.process.communicate()
            member.ended.wait()

@pytest.fixture(scope="session")
def group():
    group = Group()
    yield group
    group.end()

@pytest.fixture(scope="session")
def pool():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield pool

@pytest.fixture(scope="module")
def url():
    class Page(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        def log_message(self, *_): pass
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join()

@pytest.fixture(scope="module")
def client(url):
    import http.client
    connection = http.client.HTTPConnection(*url)
    yield connection
    connection.close()

@pytest.fixture(scope="class")
def process():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as running:
        yield running

def test_first_use_of_a_pool(pool):
    assert pool.submit(int).result() == 0

class TestServers:
    def test_first_request(self, client, process):
        client.request("GET", "/")
        assert client.getresponse().read() == b""
    def test_second_request(self, client, process):
        client.request("GET", "/")
        assert client.getresponse().read() == b""

def test_after_the_class(): pass

def test_first_use_of_a_group(group):
    group.members.append(Member())

class TestSetUp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.group = Group()
    @classmethod
    def tearDownClass(cls):
        cls.group.end()
    def test_first_use_of_what_the_class_set_up(self):
        self.group.members.append(Member())
    def test_more_of_the_class(self): pass
"""


def test_what_wider_fixtures_and_their_servers_have_is_not_the_tests(tmp_path: Path) -> None:
    told = session(tmp_path, "--lab-guard=error", test_it=FIXTURES)
    assert "7 tests left nothing behind" in told.output, told.output
    assert not told.failed


LEFT_BY_A_FIXTURE = """
import os, pytest

@pytest.fixture(scope="class")
def pipe():
    return os.pipe()

class TestIt:
    def test_first(self, pipe): pass
    def test_second(self, pipe): pass

def test_after(): pass
"""


def test_what_a_fixture_leaves_is_its_own_and_told_when_it_is_finished(tmp_path: Path) -> None:
    told = session(tmp_path, "--lab-guard=error", test_it=LEFT_BY_A_FIXTURE)
    assert told.failed == {"test_second"}
    assert "The fixture pipe (class) was finished and left 2 things behind" in told.output


LATE = """
import os, threading, time

def open_later():
    time.sleep(0.3)
    os.pipe()
    open(__file__)
    time.sleep(60)

def test_starts_a_thread():
    threading.Thread(target=open_later, daemon=True).start()

def test_frees_in_time():
    threading.Thread(target=time.sleep, args=(0.05,)).start()

def test_garbage(tmp_path):
    cycle = [open(tmp_path / "file", "w")]
    cycle.append(cycle)

def test_that_fails_holds_what_its_frames_hold(tmp_path):
    file = open(tmp_path / "file", "w")
    raise SystemError

def test_that_leaves_after_it_failed():
    os.pipe()
    raise SystemError
"""


def test_what_goes_in_time_is_no_leak_and_a_failure_keeps_none(tmp_path: Path) -> None:
    told = session(tmp_path, "--lab-guard=error", "-o", "lab_guard_window=1000", test_it=LATE)
    assert {test: told.kinds(test) for test in told.leaks} == {
        "test_starts_a_thread": ["fd", "fd", "thread"],
        "test_frees_in_time": [],
        "test_garbage": [],
        "test_that_fails_holds_what_its_frames_hold": [],
        "test_that_leaves_after_it_failed": ["fd", "fd"],
    }


def test_start_up_without_the_guard_loads_none_of_it() -> None:
    program = "import sys, lab.pytest_plugin; print([n for n in sys.modules if 'lab.guard' in n])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "[]\n"
