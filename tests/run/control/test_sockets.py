"""Sockets on this machine, and waiting for several things at once."""

from __future__ import annotations

import os
import select
import socket
import socketserver
import sys
import threading
from pathlib import Path

import pytest

from lab.run.root import Command
from lab.trace import Action, Ending
from tests.run.control.conftest import Compile
from tests.run.control.controlled import completed, endings, explore, outputs, run, steps


def served(make: object, address: object) -> None:
    """One server and two clients that each send a letter and get it back."""
    server = make()  # type: ignore[operator]
    server.bind(address)
    server.listen()
    address = server.getsockname()
    pids = []
    for letter in (b"a", b"b"):
        pid = os.fork()
        if not pid:
            client = make()  # type: ignore[operator]
            client.connect(address)
            client.sendall(letter)
            assert client.recv(1) == letter
            os._exit(0)
        pids.append(pid)
    for _ in pids:
        connection, _ = server.accept()
        letter = connection.recv(1)
        os.write(1, letter)
        connection.sendall(letter)
        connection.close()
    server.close()
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0


def test_a_unix_server_takes_its_clients_in_either_order() -> None:
    traces = explore(lambda: served(lambda: socket.socket(socket.AF_UNIX), "/tmp/server"), 12)

    completed(traces)
    assert outputs(traces) == {"ab", "ba"}
    assert {event.process for event in steps(traces[0], of="unix:/tmp/server")} == {
        "P0",
        "P1",
        "P2",
    }


def test_a_tcp_server_on_a_port_of_the_kernels_choice() -> None:
    traces = explore(lambda: served(socket.socket, ("127.0.0.1", 0)), 12)

    completed(traces)
    assert outputs(traces) == {"ab", "ba"}
    assert {event.process for event in steps(traces[0], of="inet:any:1")} == {"P0", "P1", "P2"}


def test_a_client_that_comes_before_the_server_listens_is_refused() -> None:
    def body() -> None:
        server = socket.socket(socket.AF_UNIX)
        server.bind("/tmp/early")
        pid = os.fork()
        if not pid:
            client = socket.socket(socket.AF_UNIX)
            os._exit(3 if client.connect_ex("/tmp/early") else 0)
        server.listen()
        os.write(1, b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        server.close()

    traces = explore(body, 10)

    completed(traces)
    assert outputs(traces) == {"0", "3"}


def test_datagrams_are_whole_and_belong_to_the_address_they_are_sent_to() -> None:
    def body() -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server.bind("/tmp/datagrams")
        pids = []
        for letter in (b"a", b"b"):
            pid = os.fork()
            if not pid:
                client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                for _ in range(3):
                    client.sendto(letter * 5, "/tmp/datagrams")
                os._exit(0)
            pids.append(pid)
        got = [server.recv(100) for _ in range(6)]
        assert sorted(got) == [b"aaaaa"] * 3 + [b"bbbbb"] * 3
        for pid in pids:
            os.waitpid(pid, 0)

    traces = explore(body, 8)

    completed(traces)
    senders = {event.process for event in steps(traces[1], Action.SEND, of="unix:/tmp/datagrams")}
    assert senders == {"P1", "P2"}


def test_a_queue_of_datagrams_that_is_full_blocks_in_the_kernel_and_goes_on() -> None:
    def body() -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server.bind("/tmp/datagrams")
        pid = os.fork()
        if not pid:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            for number in range(40):
                client.sendto(b"%d" % number, "/tmp/datagrams")
            os._exit(0)
        assert [int(server.recv(100)) for _ in range(40)] == list(range(40))
        os.waitpid(pid, 0)

    completed(explore(body, 4))


def test_a_stream_that_is_full_blocks_its_writer() -> None:
    def body() -> None:
        one, two = socket.socketpair()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        pid = os.fork()
        if not pid:
            two.close()
            one.sendall(b"x" * 100_000)
            os._exit(0)
        one.close()
        got = 0
        while chunk := two.recv(10_000):
            got += len(chunk)
        assert got == 100_000
        os.waitpid(pid, 0)

    completed(explore(body, 4))


def test_descriptors_travel_through_sockets() -> None:
    def body() -> None:
        one, two = socket.socketpair()
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(writer)
            _, (received,), _, _ = socket.recv_fds(two, 1, 1)
            os.write(received, b"through")
            os._exit(0)
        socket.send_fds(one, [b"x"], [writer])
        os.close(writer)
        assert os.read(reader, 100) == b"through"
        os.waitpid(pid, 0)

    traces = explore(body, 6)

    completed(traces)
    assert {event.process for event in steps(traces[0], of="pipe:1")} >= {"P0", "P1"}


def test_a_peer_that_left_is_an_end_or_a_broken_pipe() -> None:
    def body() -> None:
        one, two = socket.socketpair()
        pid = os.fork()
        if not pid:
            two.shutdown(socket.SHUT_RDWR)
            os._exit(0)
        two.close()
        assert one.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            one.send(b"x")
        os.waitpid(pid, 0)

    completed(explore(body, 6))


@pytest.mark.parametrize("kind", ["select", "poll", "epoll"])
def test_one_of_several_is_waited_for(kind: str) -> None:
    def body() -> None:
        pipes = [os.pipe() for _ in range(3)]
        readers = [reader for reader, _ in pipes]
        pid = os.fork()
        if not pid:
            os.write(pipes[1][1], b"x")
            os._exit(0)
        if kind == "select":
            ready = select.select(readers, [], [], 3600)[0]
        else:
            waiter = getattr(select, kind)()
            for reader in readers:
                waiter.register(reader, select.POLLIN)
            ready = [descriptor for descriptor, _ in waiter.poll(3600)]
        assert ready == [readers[1]]
        if kind == "select":
            assert select.select(readers[::2], [], [], 60) == ([], [], [])
        else:
            waiter.unregister(readers[1])
            assert waiter.poll(60) == []
        os.waitpid(pid, 0)

    traces = explore(body, 5)

    completed(traces)
    assert all(trace.seconds > 0.06 for trace in traces)


def test_events_are_counted_between_processes(compiled: Compile) -> None:
    source = r"""
    #include <poll.h>
    #include <stdint.h>
    #include <stdio.h>
    #include <sys/eventfd.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        int one = eventfd(0, 0), two = eventfd(0, EFD_SEMAPHORE);
        uint64_t value = 3;
        if (!fork()) { (void)!write(two, &value, 8); (void)!write(one, &value, 8); _exit(0); }
        (void)!read(one, &value, 8);
        printf("%d ", (int)value);
        (void)!read(two, &value, 8);
        printf("%d\n", (int)value);
        wait(0);
        return 0;
    }
    """
    traces = explore(compiled(source), 5)

    completed(traces)
    assert outputs(traces) == {"3 1\n"}
    assert {event.object for event in steps(traces[0], of="eventfd")} == {"eventfd:1", "eventfd:2"}


def test_a_server_that_never_answers_deadlocks_with_its_client() -> None:
    def body() -> None:
        one, two = socket.socketpair()
        pid = os.fork()
        if not pid:
            one.close()
            two.recv(1)
            os._exit(0)
        two.close()
        one.recv(1)

    trace = run(body)

    assert trace.ending is Ending.STUCK
    assert {(b.process, b.call) for b in trace.blocked} == {("P0", "recvfrom"), ("P1", "recvfrom")}


def test_a_server_with_threads() -> None:
    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(self.request.recv(10).upper())

    def body() -> None:
        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        with Server("/tmp/threads", Echo) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            pid = os.fork()
            if not pid:
                client = socket.socket(socket.AF_UNIX)
                client.connect("/tmp/threads")
                client.sendall(b"hello")
                os._exit(client.recv(10) != b"HELLO")
            assert os.waitpid(pid, 0)[1] == 0
            server.shutdown()
            thread.join()

    completed(explore(body, 3))


def test_asyncio_streams(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import asyncio\n"
        "async def serve(reader, writer):\n"
        "    writer.write((await reader.readline()).upper())\n"
        "    writer.close()\n"
        "async def main():\n"
        "    server = await asyncio.start_unix_server(serve, '/tmp/streams')\n"
        "    async with server:\n"
        "        reader, writer = await asyncio.open_unix_connection('/tmp/streams')\n"
        "        writer.write(b'hello\\n')\n"
        "        print(await asyncio.wait_for(reader.read(), 3600))\n"
        "        writer.close()\n"
        "asyncio.run(main())\n"
    )
    traces = explore(Command((sys.executable, str(script))), 2, repeats=3)

    completed(traces)
    assert outputs(traces) == {"b'HELLO\\n'\n"}
    assert endings(traces) == {Ending.COMPLETED}
