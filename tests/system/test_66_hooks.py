# SPDX-License-Identifier: MIT
"""The application's hooks, on both sides: timers, watched descriptors, idle moments,
errors, configurations, the end; and what a handler can do wrong."""
import json
import os
import re
import resource
import signal

import pytest

from client import Closed
from conftest import BUILD, Server, wait_for

CLASSES = ["process", "thread"]


@pytest.fixture
def hooked(tmp_path):
    servers = []

    def starter(*arguments):
        servers.append(Server(str(tmp_path), arguments,
                              program=os.path.join(BUILD, "tests", "hooked")))
        return servers[-1]
    yield starter
    for server in servers:
        server.stop()


def wait_until_deferred(server):
    wait_for(lambda: [request["state"] for request in
                      server.status()["pools"][0]["workers"][0]["requests"]] == ["deferred"])


@pytest.mark.parametrize("kind", CLASSES)
def test_a_watched_descriptor_finishes_a_request(hooked, kind):
    server = hooked("--worker-class", kind)
    wait_for(lambda: "can write" in server.log())
    with server.client() as waiter, server.client() as other:
        for text in ("one", "two"):
            waiter.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until_deferred(server)
            assert other.get(f"/write?text={text}").status == 200
            assert waiter.answer().body == text.encode()


def test_timers_and_idle_moments(hooked):
    server = hooked()
    assert server.get("/timer").body == b"set"
    wait_for(lambda: "ticked three times" in server.log())
    wait_for(lambda: "on_idle 3" in server.log())
    wait_for(lambda: server.log().count("the dispatcher is idle") == 2)
    assert server.log().count("ticked three times") == 1


def test_errors_are_told(hooked):
    server = hooked()
    with server.client() as client:
        for how, why in [("nothing", "returned without making a reply"),
                         ("pass", "let pass what only it can answer"),
                         ("other", "returned something else"),
                         ("anything", "on purpose")]:
            answer = client.get(f"/wrong/{how}")
            assert answer.status == 500
            wait_for(lambda: re.search(rf"on_error 500 /wrong/{how}: .*{why}", server.log()))
        assert client.get("/wrong/calls").body == b"refused"
        assert client.get("/local/wrong").status == 500
    wait_for(lambda: "deferred or streamed an answer, which only a worker can" in server.log())


@pytest.mark.parametrize("how", ["stream", "abort"])
def test_a_stream_that_fails_is_seen_to_fail(hooked, how):
    server = hooked()
    with server.client() as client:
        assert client.begin(f"/wrong/{how}").status == 200
        assert client.chunk() == b"begun\n"
        with pytest.raises((Closed, AssertionError)):
            client.chunk()
    assert server.get("/early").body == b"early"
    assert server.status()["pools"][0]["restarts"] == 0


def test_answers_that_come_later_in_each_way(hooked):
    server = hooked()
    with server.client() as client:
        for _ in range(3):
            answer = client.get("/later/plain")
            assert (answer.status, answer.body) == (200, b"plain")
            assert (answer.header("X-Before"), answer.header("X-Later")) == ("yes", "yes")
            assert client.get("/later/again").body == b"again"
            answer = client.get("/later/stream")
            assert (answer.body, answer.header("X-Before")) == (b"streamed", "yes")
            assert client.get("/early").body == b"early"
    assert server.status()["pools"][0]["restarts"] == 0


@pytest.mark.parametrize("kind", CLASSES)
def test_configurations_are_told_in_order(hooked, kind):
    server = hooked("--worker-class", kind)
    with server.client() as client:
        for number in range(100):
            assert client.get(f"/local/config/{number}").body == b"sent"
    wait_for(lambda: "on_config 99" in server.log())
    told = [int(n) for n in re.findall(r"on_config (\d+)", server.log())]
    assert told == list(range(100))
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "torn down, 100 configurations" in server.log())
    wait_for(lambda: re.findall(r"on_config (\d+)", server.log())[100:] == ["99"])


def test_a_worker_that_takes_none_for_long_gets_the_last(hooked):
    server = hooked()
    os.kill(server.workers()[0], signal.SIGSTOP)
    with server.client() as client:
        for number in range(1000):
            assert client.get(f"/local/config/{number}").body == b"sent"
    wait_for(lambda: "does not take its configurations" in server.log())
    os.kill(server.workers()[0], signal.SIGCONT)
    wait_for(lambda: "on_config 999" in server.log())
    told = [int(n) for n in re.findall(r"on_config (\d+)", server.log())]
    assert told == sorted(told)


def test_the_dispatchers_hooks(hooked):
    server = hooked()
    for line in ("the dispatcher has started", "a timer of the dispatcher",
                 "the pipe says hello", "the pool answered 200: called",
                 'nobody answered 404: {"error":"nothing is at this path"}'):
        wait_for(lambda line=line: line in server.log(), what=line)
    assert "something failed" not in server.log()
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_for(lambda: re.search(r"the dispatcher knows that hooked\[0\] has ended: \w+",
                               server.log()))
    wait_for(lambda: server.get("/early").status == 200)
    assert server.stop() == 0
    assert "the dispatcher stops" in server.log()


def test_the_status_for_hooks(hooked):
    server = hooked()
    told = json.loads(server.get("/local/status").body)
    asked = server.status()
    assert told.keys() == asked.keys()
    assert told["pools"][0].keys() == asked["pools"][0].keys()


def test_calls_from_inside_a_local_handler(hooked):
    server = hooked()
    with server.client() as client:
        before = server.status()["pools"][0]["served"]
        for _ in range(10):
            assert client.get("/local/call").body == b"/local/call"
        wait_for(lambda: server.status()["pools"][0]["served"] >= before + 200)
    assert server.status()["dispatchers"][0]["calls"] == 0


def test_a_configuration_that_is_lost_is_told(hooked):
    server = hooked()
    dispatcher = server.dispatcher()
    with server.client() as client:
        assert client.get("/local/config/1").status == 200
        limit = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, limit[1]))
        assert client.get("/local/config/2").status == 200
        wait_for(lambda: "a configuration of dispatcher[0] is lost" in server.log())
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limit)
        assert client.get("/local/config/3").status == 200
        wait_for(lambda: "on_config 3" in server.log())
        assert server.dispatcher() == dispatcher


def test_who_publishes_faster_than_it_is_taken_is_refused(hooked):
    server = hooked()
    with server.client(timeout=30) as client:
        for _ in range(3):
            published = int(re.search(rb"\d+", client.get("/wrong/flood").body).group())
            assert published > 100
            assert client.get("/early").body == b"early"
        wait_for(lambda: server.status()["dispatchers"][0]["published"] >= published)
    assert server.status()["pools"][0]["restarts"] == 0


def test_the_worker_is_told_that_it_is_to_leave(hooked):
    server = hooked()
    with server.client() as client:
        client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_deferred(server)
        server.process.send_signal(signal.SIGHUP)
        assert client.answer().body == b"the worker leaves"
    wait_for(lambda: "torn down" in server.log())
    assert server.log().index("on_stop") < server.log().index("torn down")


def test_who_leaves_is_told_with_the_data(hooked):
    server = hooked()
    client = server.client()
    client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until_deferred(server)
    client.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: a reset
    client.socket.close()
    wait_for(lambda: "on_disconnect /wait waiting" in server.log())
