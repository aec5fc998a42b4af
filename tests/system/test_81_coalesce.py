# SPDX-License-Identifier: MIT
"""Many busy clients are heard together, with naps instead of sleeps between them."""
import contextlib
import os
import re
import signal
import socket
import threading
import time

import pytest

from conftest import wait_for

# A long head, so that the dispatcher has more to do than this client.
REQUEST = (b"GET /hello HTTP/1.1\r\nHost: x\r\n" +
           b"".join(b"X-Field-%d: some value\r\n" % i for i in range(60)) + b"\r\n")
ANSWER = b"HTTP/1.1 200 OK\r\n"


def is_whole(taken):
    """Whether the last answer is."""
    head, end, body = taken.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    return end and len(body) == int(re.search(rb"Content-Length: (\d+)", head).group(1))


class Crowd:
    """Clients that ask together, each for so many answers at a time."""
    def __init__(self, server, count=64, depth=6):
        self.depth = depth
        self.sockets = [socket.create_connection(server.address, 20) for _ in range(count)]

    def ask(self, rounds=1):
        """How many answers were no success."""
        failures = 0
        for _ in range(rounds):
            for sock in self.sockets:
                sock.sendall(REQUEST * self.depth)
            for sock in self.sockets:
                taken = b""
                while taken.count(b"HTTP/1.1 ") < self.depth or not is_whole(taken):
                    more = sock.recv(65536)
                    if not more:
                        raise ConnectionError("closed before all answers were there")
                    taken += more
                failures += self.depth - taken.count(ANSWER)
        return failures

    def close(self):
        for sock in self.sockets:
            sock.close()


def naps(server):
    return sum(one["naps"] for one in server.status()["dispatchers"])


def naps_come(server, crowd, rounds=20):
    before = naps(server)
    assert crowd.ask(rounds) == 0
    return naps(server) > before


@pytest.mark.parametrize("arguments", [
    ("--workers", "1"), ("--workers", "2", "--worker-class", "thread"),
    ("--workers", "4", "--loop", "epoll", "--spin", "off"),
    ("--workers", "1", "--coalesce", "20")])
def test_many_are_heard_together(start, arguments):
    server = start(*arguments)
    with contextlib.closing(Crowd(server)) as crowd:
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


def test_a_worker_that_dies_meanwhile_costs_one_request(start):
    server = start("--workers", "1")
    with contextlib.closing(Crowd(server)) as crowd:
        wait_for(lambda: naps_come(server, crowd), seconds=60)
        worker = server.workers()[0]
        threading.Timer(0.02, os.kill, (worker, signal.SIGKILL)).start()
        failures = []

        def is_replaced():
            failures.append(crowd.ask(10))
            return server.status()["pools"][0]["workers"][0]["pid"] not in (worker, 0)

        wait_for(is_replaced, seconds=30)
        assert sum(failures) <= 1
        wait_for(lambda: naps_come(server, crowd), seconds=60)


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
