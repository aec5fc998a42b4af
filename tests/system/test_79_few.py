# SPDX-License-Identifier: MIT
"""While few clients are busy nobody sleeps between their requests."""
import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from conftest import wait_for

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2,
                                reason="needs two processors")


def ask(client, count):
    for _ in range(count):
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer().status == 200


def figures(server):
    """Of the dispatchers: times that they need not sleep, and bells that they rang."""
    status = server.status()["dispatchers"]
    return sum(one["spins"] for one in status), sum(one["bells"] for one in status)


def spins(server, client, count=1000):
    """Of so many requests, most without a bell: so the worker did not sleep either."""
    found, bells = figures(server)
    ask(client, count)
    now_found, now_bells = figures(server)
    return now_found - found > count / 2 and now_bells - bells < count / 2


def cpu_s(pids):
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            ticks += sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def start_patient(start, *arguments):
    """One that spins also where the machine, the sanitizers or this client are slow."""
    return start("--spin", "1000", *arguments)


def test_who_is_alone_wakes_nobody(start):
    server = start("--workers", "1")
    with server.client() as client:
        wait_for(lambda: spins(server, client), seconds=100)


@pytest.mark.parametrize("arguments", [
    ("--worker-class", "process"), ("--worker-class", "thread"), ("--dispatchers", "2")])
def test_who_asks_now_and_then_wakes_the_dispatcher_once(start, arguments):
    """It looks for the answer, and its worker need not ring."""
    server = start("--workers", "2", *arguments)

    def bells_and_awaited():
        status = server.status()
        return (sum(worker["bells"] for worker in status["pools"][0]["workers"]),
                sum(one["awaited"] for one in status["dispatchers"]))

    def most_are_looked_for():
        bells, awaited = bells_and_awaited()
        for _ in range(100):
            time.sleep(0.002)
            ask(client, 1)
        now_bells, now_awaited = bells_and_awaited()
        return now_bells - bells < 50 < now_awaited - awaited

    with server.client() as client:
        wait_for(most_are_looked_for, seconds=100)


def test_slow_answers_are_not_looked_for(start):
    server = start("--workers", "1")
    with server.client() as client:
        pids = [server.dispatcher()]
        client.get("/sleep/100")
        before = cpu_s(pids)
        for _ in range(10):
            assert client.get("/sleep/100").status == 200
        assert cpu_s(pids) - before < 0.2


@pytest.mark.parametrize("arguments", [
    ("--workers", "1"), ("--workers", "4"), ("--workers", "2", "--worker-class", "thread"),
    ("--workers", "1", "--loop", "epoll"), ("--workers", "1", "--loop", "io_uring"),
    ("--workers", "1", "--dispatchers", "2")])
def test_so_do_servers_of_all_kinds(start, arguments):
    server = start_patient(start, *arguments)
    with server.client() as client:
        wait_for(lambda: spins(server, client), seconds=60)


def test_off_is_off(start):
    """Where it would spin else."""
    patient = start_patient(start, "--workers", "1")
    with patient.client() as client:
        wait_for(lambda: spins(patient, client), seconds=60)
    patient.stop()
    server = start("--workers", "1", "--spin", "off")
    with server.client() as client:
        ask(client, 2000)
    assert figures(server)[0] == 0


def test_among_many_it_ends(start):
    """Eight clients that ask in turn, one request at a time: no more than one is there to be
    found, and still they are too many."""
    server = start("--workers", "1")
    with server.client() as client:
        wait_for(lambda: spins(server, client), seconds=100)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(8)]

        def take_turns():
            for _ in range(100):
                for client in clients:
                    ask(client, 1)
        take_turns()
        found, bells = figures(server)
        take_turns()
        now_found, now_bells = figures(server)
    assert now_found == found
    assert now_bells - bells > 400


def test_who_has_nothing_to_do_takes_no_processor(start):
    server = start_patient(start, "--workers", "2")
    with server.client() as client:
        wait_for(lambda: spins(server, client), seconds=60)
        pids = [server.dispatcher(), *server.workers()]
        before = cpu_s(pids)
        time.sleep(3)
        assert cpu_s(pids) - before < 0.3
        ask(client, 10)


def test_a_worker_that_dies_meanwhile_is_replaced(start):
    server = start_patient(start, "--workers", "1")
    for _ in range(3):
        with server.client() as client:
            wait_for(lambda: spins(server, client), seconds=60)
            worker = server.workers()[0]
            os.kill(worker, signal.SIGKILL)
            ask_until_answered(server)
        wait_for(lambda: server.workers() and server.workers()[0] != worker, seconds=15)


def ask_until_answered(server):
    statuses = []
    while not statuses or statuses[-1] != 200:
        statuses.append(server.get("/hello").status)
        assert len(statuses) < 3, statuses


def test_a_dispatcher_that_stands_still_makes_no_worker_spin(start):
    """It has said that it spins, and says no more."""
    server = start("--workers", "1")
    with server.client() as client:
        wait_for(lambda: spins(server, client), seconds=100)
        dispatcher, worker = server.dispatcher(), server.workers()[0]
        stop = threading.Event()

        def go_on():
            while not stop.is_set():
                try:
                    ask(client, 1)
                except (OSError, AssertionError):
                    return

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            time.sleep(0.2)
            os.kill(dispatcher, signal.SIGSTOP)
            time.sleep(0.2)
            before = cpu_s([worker])
            time.sleep(2)
            assert cpu_s([worker]) - before < 0.2
        finally:
            os.kill(dispatcher, signal.SIGCONT)
            stop.set()
            thread.join()


def test_it_stops_at_once(start):
    server = start_patient(start, "--workers", "2")
    client = socket.create_connection(server.address)
    stop = threading.Event()

    def go_on():
        try:
            while not stop.is_set():
                client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
                if not client.recv(4096):
                    return
        except OSError:
            pass

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        time.sleep(1)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
    finally:
        stop.set()
        thread.join()
        client.close()
