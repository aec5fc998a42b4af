# SPDX-License-Identifier: MIT
"""Workers that go to their dispatcher's processor, and those that may not."""
import contextlib
import os
import signal

import pytest

from conftest import wait_for

PROCESSORS = sorted(os.sched_getaffinity(0))
HERE = set(PROCESSORS[:1])
THERE = set(PROCESSORS[1:2])

pytestmark = pytest.mark.skipif(len(PROCESSORS) < 2, reason="needs two processors")


@pytest.fixture(autouse=True)
def client_here():
    """The client is where the dispatcher is, so that the worker's processor is idle."""
    os.sched_setaffinity(0, HERE)
    yield
    os.sched_setaffinity(0, PROCESSORS)


def may_run(pid, processors):
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), processors)


def where(pid):
    return [os.sched_getaffinity(int(task)) for task in sorted(os.listdir(f"/proc/{pid}/task"))]


def moves(server):
    return server.status()["pools"][0]["workers"][0]["moves"]


def apart(server):
    """The dispatcher here, its worker elsewhere; returns the worker's pid."""
    worker = server.workers()[0]
    may_run(server.dispatcher(), HERE)
    may_run(worker, THERE)
    return worker


def ask(server, path="/hello", count=100, at_once=8):
    """Some at once: work for which it is worth to move also under a sanitizer."""
    with server.client() as client:
        for _ in range(count):
            client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * at_once)
            assert {client.answer().status for _ in range(at_once)} == {200}


def ask_from_elsewhere(server, worker, path="/hello", count=100):
    """The worker is elsewhere at first, and may go anywhere."""
    may_run(worker, THERE)
    may_run(worker, PROCESSORS)
    ask(server, path, count)
    return moves(server)


@pytest.mark.parametrize("arguments", [
    ("--worker-class", "process"), ("--worker-class", "thread"), ("--spin", "off")])
def test_who_is_woken_elsewhere_goes_beside_its_dispatcher(start, arguments):
    server = start("--workers", "1", *arguments)
    worker = apart(server)
    wait_for(lambda: ask_from_elsewhere(server, worker), seconds=30)
    assert all(mask == set(PROCESSORS) for mask in where(worker)), "it is not held there"


def test_who_may_not_run_there_stays(start):
    server = start("--workers", "1")
    worker = apart(server)
    ask(server, count=1000)
    assert moves(server) == 0
    assert where(worker) == [THERE]


@pytest.mark.parametrize("arguments", [
    ("--policy", "normal"), ("--policy", "batch"), ("--dispatchers", "2"), ("--spin", "20")])
def test_it_is_left_to_the_system(start, arguments):
    """While another one, asked in the same way, moves."""
    control = start("--workers", "1")
    server = start("--workers", "1", *arguments)
    control_worker, worker = apart(control), apart(server)

    def control_moved():
        assert not ask_from_elsewhere(server, worker)
        return ask_from_elsewhere(control, control_worker)
    wait_for(control_moved, seconds=30)


def test_who_works_long_is_left_where_it_is(start):
    """Milliseconds of work at each wake-up, and of sleep, with as many wake-ups."""
    server = start("--workers", "1")
    worker = apart(server)
    assert not ask_from_elsewhere(server, worker, "/spin/1", count=40)
    assert not ask_from_elsewhere(server, worker, "/sleep/2", count=40)
    wait_for(lambda: ask_from_elsewhere(server, worker), seconds=30)


def test_a_worker_begins_at_no_moves(start):
    server = start("--workers", "1")
    worker = apart(server)
    wait_for(lambda: ask_from_elsewhere(server, worker), seconds=30)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: server.workers()[0] != worker, seconds=15)
    assert moves(server) == 0


def beside(server):
    """Both here, and known to each other to be; returns the worker's pid."""
    worker = server.workers()[0]
    may_run(server.dispatcher(), HERE)
    may_run(worker, HERE)
    ask(server, "/echo", count=100)
    return worker


def flood(clients, number):
    """More at once than a worker takes, each with a body of its own."""
    for client in clients:
        client.send(b"".join(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n%08d"
                             % (number * 16 + i) for i in range(16)))


def answered(clients, number):
    for client in clients:
        for i in range(16):
            answer = client.answer()
            assert (answer.status, answer.body) == (200, b"%08d" % (number * 16 + i))


@contextlib.contextmanager
def many(server):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(server.client()) for _ in range(40)]


def test_what_a_full_worker_cannot_take_comes_later_and_in_order(start):
    server = start("--workers", "1")
    beside(server)
    with many(server) as clients:
        for number in range(20):
            flood(clients, number)
            answered(clients, number)


def test_a_full_worker_that_stands_still_holds_up_nobody_else(start):
    server = start("--workers", "1")
    worker = beside(server)
    with many(server) as clients:
        for _ in range(5):
            os.kill(worker, signal.SIGSTOP)
            flood(clients, 1)
            for _ in range(100):
                assert server.get("/local/hello").status == 200
            os.kill(worker, signal.SIGCONT)
            answered(clients, 1)
