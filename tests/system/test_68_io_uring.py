# SPDX-License-Identifier: MIT
"""Dispatchers read and write by io_uring wherever they may, what is alone in a turn by a call of
its own: all that holds so holds if all is by io_uring too (the tests of clients' wire are run
again), and where there is no io_uring each read and write is a call."""
# pylint: disable=wildcard-import,unused-wildcard-import,redefined-outer-name
import contextlib
import errno
import os
import re
import signal

import pytest

from client import Closed
from conftest import Server, is_alive, process_state, wait_for
from filtered import IO_URING_SETUP, refusing
from test_10_basics import *  # noqa: F401,F403
from test_20_http import *  # noqa: F401,F403
from test_25_timeouts import *  # noqa: F401,F403

EPOLL = ("--loop", "epoll")
IO_URING = ("--loop", "io_uring")


@pytest.fixture(scope="module")
def always():
    return IO_URING


def rings(pid):
    """How many descriptors of a process are io_uring's."""
    folder = f"/proc/{pid}/fd"
    return sum(os.readlink(f"{folder}/{name}") == "anon_inode:[io_uring]"
               for name in os.listdir(folder))


@pytest.fixture
def server_of(tmp_path):
    """A function that starts a sampler of which only the loop is chosen by the test."""
    servers = []

    def starter(*arguments, before=()):
        folder = tmp_path / f"of{len(servers)}"
        folder.mkdir()
        servers.append(Server(str(folder), list(arguments), before=list(before)))
        return servers[-1]
    yield starter
    for server in servers:
        server.stop()


def test_each_dispatcher_has_a_ring_and_nobody_else(server_of):
    server = server_of("--dispatchers", "2", "--workers", "2")
    if "not io_uring" in server.log():
        pytest.skip("this system has no io_uring, or forbids it")
    pids = [one["pid"] for one in server.status()["dispatchers"]]
    assert [rings(pid) for pid in pids] == [1, 1]
    assert [rings(pid) for pid in [server.pid, *server.workers()]] == [0, 0, 0]
    assert server.log().count("read and written by io_uring") == 2


def ring_of(pid):
    """What fdinfo says of the io_uring of a process; "" without one."""
    folder = f"/proc/{pid}"
    for name in os.listdir(f"{folder}/fd"):
        with contextlib.suppress(FileNotFoundError):  # one that was closed meanwhile
            if os.readlink(f"{folder}/fd/{name}") == "anon_inode:[io_uring]":
                with open(f"{folder}/fdinfo/{name}", encoding="ascii") as file:
                    return file.read()
    return ""


def handed_over(pid):
    """How many reads and writes the io_uring of a process was given."""
    return int(re.search(r"^SqTail:\s*(\d+)", ring_of(pid), re.M)[1])


@pytest.mark.parametrize("loop,alone", [((), 0), (IO_URING, 2)], ids=["auto", "io_uring"])
def test_what_is_ready_together_is_read_and_written_together(server_of, loop, alone):
    server = server_of("--workers", "1", *loop)
    if "not io_uring" in server.log() or "no io_uring" in server.log():
        pytest.skip("this system has no io_uring, or forbids it")
    pid = server.dispatcher()
    clients = [server.client() for _ in range(8)]
    assert clients[0].get("/local/hello").status == 200 # who asked before has gone
    for client in clients:
        before = handed_over(pid)
        assert client.get("/local/hello").status == 200
        assert handed_over(pid) - before == alone
    before = handed_over(pid)
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: process_state(pid) == "T")
    for client in clients:
        client.send(b"GET /local/hello HTTP/1.1\r\nHost: x\r\n\r\n")
    os.kill(pid, signal.SIGCONT)
    assert {client.answer().status for client in clients} == {200}
    assert handed_over(pid) - before == 2 * len(clients)


def kept(pid):
    """How many files the io_uring of a process keeps."""
    users = re.search(r"^UserFiles:.*\n((?: .*\n)*)", ring_of(pid), re.M)
    return len(re.findall(r"^ *\d+: (?!<none>)", users[1], re.M))


def test_who_asks_often_is_kept_and_closed_as_soon_as_others(server_of):
    server = server_of("--workers", "1", *IO_URING)
    pid = server.dispatcher()
    if not ring_of(pid):
        pytest.skip("this system has no io_uring, or forbids it")
    if tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (6, 14):
        pytest.skip("this Linux would let go of what is kept too late")
    clients = [server.client() for _ in range(4)]
    for client in clients[:3]:
        for _ in range(40):
            assert client.get("/hello").status == 200
    assert kept(pid) == 3
    clients[0].send(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert clients[0].answer().status == 200
    clients[0].socket.settimeout(0.5)
    assert clients[0].is_closed()
    clients[1].socket.close()
    wait_for(lambda: kept(pid) == 1)
    os.kill(pid, signal.SIGKILL)
    assert clients[2].is_closed() and clients[3].is_closed()


def test_a_dispatcher_that_dies_lets_go_of_its_clients_and_comes_back(start):
    server = start("--workers", "2")
    for _ in range(3):
        clients = [server.client() for _ in range(20)]
        assert {client.get("/hello").status for client in clients} == {200}
        pid = server.dispatcher()
        os.kill(pid, signal.SIGKILL)
        for client in clients:
            with pytest.raises((Closed, ConnectionError)):
                client.get("/hello")
        wait_for(lambda: server.dispatcher() != pid)
    assert server.get("/hello").status == 200


def test_workers_that_die_and_are_replaced(start):
    server = start("--workers", "2")
    for how in ("segv", "exit", "garbage"):
        assert server.get(f"/crash/{how}").status == 502
        assert {worker for worker in map(bool, server.workers())} == {True}
        assert server.get("/hello").status == 200


def test_the_address_is_free_as_soon_as_it_has_stopped(tmp_path):
    listen = ["--listen", "127.0.0.1:0"]
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        server = Server(str(tmp_path / str(number)), [*listen, *IO_URING])
        listen = ["--listen", f"127.0.0.1:{server.address[1]}"]
        with server.client() as client:
            assert client.get("/hello").status == 200
            assert server.stop() == 0


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_who_was_killed_may_start_again_at_once(tmp_path, kind):
    listen = "127.0.0.1:0" if kind == "tcp" else f"unix:{tmp_path}/socket"
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        server = Server(str(tmp_path / str(number)), ["--listen", listen, *IO_URING])
        if kind == "tcp":
            listen = f"127.0.0.1:{server.address[1]}"
        assert server.get("/hello").status == 200
        server.process.kill()
        server.process.wait()
    wait_for(lambda: not any(map(is_alive, server.known)))
    server.stop()


def test_a_unix_socket(tmp_path):
    path = tmp_path / "socket"
    server = Server(str(tmp_path), ["--listen", f"unix:{path}", *IO_URING])
    clients = [server.client() for _ in range(20)]
    for _ in range(5):
        assert {client.get("/hello").status for client in clients} == {200}
    assert clients[0].request("POST", "/echo", body=b"x" * 300000).body == b"x" * 300000
    assert server.stop() == 0


def test_with_epoll_there_is_no_ring(server_of):
    server = server_of("--dispatchers", "2", "--workers", "2", *EPOLL)
    pids = [one["pid"] for one in server.status()["dispatchers"]]
    assert [rings(pid) for pid in [*pids, server.pid, *server.workers()]] == [0] * 5
    assert "io_uring" not in server.log()


@pytest.mark.parametrize("loop,said", [
    ((), "read and written by system calls, not io_uring: Operation not permitted"),
    (IO_URING, "no io_uring: Operation not permitted; each connection is read")])
def test_where_it_is_forbidden_it_is_epoll(server_of, loop, said):
    server = server_of(*loop, before=refusing(IO_URING_SETUP, errno.EPERM))
    assert said in server.log()
    assert server.get("/hello").status == 200
    assert server.stop() == 0
