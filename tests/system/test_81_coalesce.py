# SPDX-License-Identifier: MIT
"""Many busy clients are heard together, with naps instead of sleeps between them."""
import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from conftest import wait_for

CLIENTS = 64
DEPTH = 6
# A long head, so that the dispatcher has more to do than this client.
REQUEST = (b"GET /hello HTTP/1.1\r\nHost: x\r\n" +
           b"".join(b"X-Field-%d: some value\r\n" % i for i in range(60)) + b"\r\n")
ANSWER = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"message":"hello"}'


class Crowd:
    """Clients that ask together, each for so many answers at a time."""
    def __init__(self, server, count=CLIENTS, depth=DEPTH):
        self.depth = depth
        self.sockets = [socket.create_connection(server.address, 20) for _ in range(count)]

    def ask(self, rounds=1):
        for _ in range(rounds):
            for sock in self.sockets:
                sock.sendall(REQUEST * self.depth)
            for sock in self.sockets:
                taken = b""
                while taken.count(BODY) < self.depth:
                    more = sock.recv(65536)
                    if not more or more.count(ANSWER) != more.count(b"HTTP/1.1 "):
                        raise ConnectionError(taken + more)
                    taken += more
                assert taken.count(ANSWER) == self.depth and taken.endswith(BODY)

    def close(self):
        for sock in self.sockets:
            sock.close()


def naps(server):
    return sum(one["naps"] for one in server.status()["dispatchers"])


def naps_come(server, crowd, rounds=20):
    before = naps(server)
    crowd.ask(rounds)
    return naps(server) > before


@pytest.mark.parametrize("arguments", [
    ("--workers", "1"), ("--workers", "2", "--worker-class", "thread"),
    ("--workers", "4", "--loop", "epoll", "--spin", "off"),
    ("--workers", "1", "--coalesce", "20"), ("--workers", "2", "--dispatchers", "2")])
def test_many_are_heard_together(start, arguments):
    server = start(*arguments)
    with contextlib.closing(Crowd(server, 128 if "--dispatchers" in arguments else 64)) as crowd:
        wait_for(lambda: naps_come(server, crowd), seconds=60)
    # And nobody naps for who asks alone.
    with server.client() as client:
        time.sleep(0.1)
        before = naps(server)
        for _ in range(50):
            time.sleep(0.002)
            assert client.get("/hello").status == 200
        assert naps(server) == before


@pytest.mark.parametrize("arguments", [("--coalesce", "off"), ("--spin", "20")])
def test_not_where_it_is_not_wanted(start, arguments):
    server = start("--workers", "1", *arguments)
    with contextlib.closing(Crowd(server)) as crowd:
        assert not naps_come(server, crowd, rounds=300)


def test_not_for_some_clients(start):
    server = start("--workers", "1")
    with contextlib.closing(Crowd(server, count=40)) as crowd:
        assert not naps_come(server, crowd, rounds=300)


def test_not_while_workers_are_what_is_waited_for(start):
    """The dispatcher sleeps most of the time, then: who asks is not kept waiting."""
    server = start("--workers", "2")
    address, stop = server.address, threading.Event()

    def go_on():
        with contextlib.closing(socket.create_connection(address, 20)) as sock:
            while not stop.is_set():
                sock.sendall(b"GET /sleep/1 HTTP/1.1\r\nHost: x\r\n\r\n")
                assert sock.recv(65536).startswith(ANSWER)

    threads = [threading.Thread(target=go_on) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert naps(server) == 0


def test_a_worker_that_dies_meanwhile_costs_what_it_had_begun(start):
    server = start("--workers", "1")
    with contextlib.closing(Crowd(server)) as crowd:
        wait_for(lambda: naps_come(server, crowd), seconds=60)
        worker = server.workers()[0]
        thread = threading.Timer(0.02, os.kill, (worker, signal.SIGKILL))
        thread.start()
        with contextlib.suppress(ConnectionError):
            crowd.ask(200)
        thread.join()
    wait_for(lambda: server.workers() and server.workers()[0] != worker, seconds=15)
    assert server.get("/hello").status == 200


def test_it_stops_at_once(start):
    server = start("--workers", "2")
    with contextlib.closing(Crowd(server)) as crowd:
        wait_for(lambda: naps_come(server, crowd), seconds=60)

        def go_on():
            with contextlib.suppress(OSError):
                while True:
                    crowd.ask()

        thread = threading.Thread(target=go_on)
        thread.start()
        time.sleep(0.3)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
        thread.join()
