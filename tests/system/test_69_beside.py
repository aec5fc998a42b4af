# SPDX-License-Identifier: MIT
"""Workers that go to their dispatcher's processor, and those that may not."""
import os

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


def ask(server, path="/hello", count=100):
    with server.client() as client:
        for _ in range(count):
            assert client.get(path).status == 200


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_who_is_woken_elsewhere_goes_beside_its_dispatcher(start, kind):
    server = start("--workers", "1", "--worker-class", kind)
    worker = apart(server)

    def moved():
        may_run(worker, THERE)
        may_run(worker, PROCESSORS)
        ask(server)
        return moves(server)
    wait_for(moved, seconds=30)
    assert all(mask == set(PROCESSORS) for mask in where(worker)), "it is not held there"


def test_who_may_not_run_there_stays(start):
    server = start("--workers", "1")
    worker = apart(server)
    ask(server, count=2000)
    assert moves(server) == 0
    assert where(worker) == [THERE]


@pytest.mark.parametrize("policy", ["normal", "batch"])
def test_other_policies_leave_it_to_the_system(start, policy):
    server = start("--workers", "1", "--policy", policy)
    worker = apart(server)
    may_run(worker, PROCESSORS)
    ask(server, count=2000)
    assert moves(server) == 0


def test_who_is_seldom_woken_or_works_long_is_left_where_it_is(start):
    server = start("--workers", "1")
    worker = apart(server)
    may_run(worker, PROCESSORS)
    before = moves(server)
    ask(server, "/sleep/2", count=200)
    assert moves(server) == before
