# SPDX-License-Identifier: MIT
"""The application's hooks, on both sides: timers, watched descriptors, idle moments,
errors, configurations, the end; and what a handler can do wrong."""
import errno
import json
import os
import re
import resource
import signal
import time

import pytest

from client import Closed
from conftest import wait_for

CLASSES = ["process", "thread"]
# The header lines of an answer to a call, as the program tells of them.
SAID = "said X-Before: yes||X-Later: yes||Content-Type: text/plain; charset=utf-8||"


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


def test_the_old_protocol_shows_that_a_stream_failed(hooked):
    server = hooked()
    with server.client() as client:
        client.send(b"GET /wrong/abort HTTP/1.0\r\n\r\n")
        client.read_until(b"begun\n")
        with pytest.raises(ConnectionResetError):
            client.more()


def test_what_fails_behind_another_request_is_answered_so(hooked):
    """Whatever it was to be, and with a body where there may be one."""
    server = hooked()
    failing = [("GET", "/wrong/abort"), ("GET", "/no-content"), ("HEAD", "/no-content")]
    asked = [("GET", "/wait"), *failing, ("GET", "/early")]
    with server.client() as client:
        client.send(b"".join(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                             for method, path in asked))
        wait_until_deferred(server)
        assert server.get("/write?text=written").status == 200
        answers = [client.answer(method) for method, _ in asked]
    assert [answer.status for answer in answers] == [200, 502, 502, 502, 200]
    for answer, (method, _) in zip(answers[1:], failing):
        error = b"" if method == "HEAD" else b'{"error":"the worker gave up its answer"}'
        assert answer.body == error
        assert answer.header("Content-Length") == "41"


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


def test_what_nobody_waits_for_is_let_go(hooked):
    server = hooked("--workers", "1")
    for _ in range(3):
        with server.client() as client:
            client.send(b"GET /said?much=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.05)
    wait_for(lambda: server.status()["pools"][0]["in_hand"] == 0)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_said_all_may_still_look_whether_somebody_waits(hooked, method):
    server = hooked("--workers", "1")
    before = server.workers()
    with server.client() as one, server.client() as other:
        one.send(f"{method} /said HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.05)
        for _ in range(3):  # a slot that was let go too soon would be taken by these
            other.send(b"GET /later/x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one.answer(method).status == 200
        for _ in range(3):
            assert other.answer().status == 200
    assert server.workers() == before


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


def send_config(client, number):
    """The parent may be behind, on a busy machine."""
    wait_for(lambda: client.get(f"/local/config/{number}").body == b"sent")


def test_a_worker_that_takes_none_for_long_gets_the_last(hooked):
    server = hooked()
    os.kill(server.workers()[0], signal.SIGSTOP)
    with server.client() as client:
        for number in range(1000):
            send_config(client, number)
    wait_for(lambda: "does not take its configurations" in server.log())
    os.kill(server.workers()[0], signal.SIGCONT)
    wait_for(lambda: "on_config 999" in server.log())
    told = [int(n) for n in re.findall(r"on_config (\d+)", server.log())]
    assert told == sorted(told)


def test_who_takes_no_link_now_gets_it_later(hooked):
    """A worker that is busy is not at fault when its dispatcher dies."""
    server = hooked("--workers", "1")
    worker = server.workers()[0]
    before = server.dispatcher()
    os.kill(worker, signal.SIGSTOP)
    try:
        with server.client() as client:
            for number in range(1000):
                send_config(client, number)
        wait_for(lambda: "does not take its configurations" in server.log())
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: server.dispatcher() not in (None, before))
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_for(lambda: server.get("/early").status == 200)
    assert server.workers() == [worker]


def test_the_dispatchers_hooks(hooked):
    server = hooked()
    for line in ("the dispatcher has started", "a timer of the dispatcher",
                 "the pipe says hello", "the pool answered 200: called",
                 f"the pool {SAID}",
                 'nobody answered 404: {"error":"nothing is at this path"}'):
        wait_for(lambda line=line: line in server.log(), what=line)
    assert "something failed" not in server.log()
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_for(lambda: re.search(r"the dispatcher knows that hooked\[0\] has ended: \w+",
                               server.log()))
    wait_for(lambda: server.get("/early").status == 200)
    assert server.stop() == 0
    assert f"the dispatcher stops: {os.strerror(errno.ENOTCONN)}, " \
        f"{os.strerror(errno.ENOTCONN)}" in server.log()


def test_a_dispatcher_that_fails_calls_nobody_any_more(hooked, monkeypatch):
    monkeypatch.setenv("HOOKED_OVER", "1")
    server = hooked("--loop", "epoll")
    with server.client() as waiter, server.client() as other:
        waiter.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_deferred(server)
        other.send(b"GET /local/break HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: "the dispatcher stops" in server.log(), what="its end")
    refused = os.strerror(errno.ENOTCONN)
    assert f"/wait is given up: {refused}, {refused}" in server.log()


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


def test_a_call_that_took_too_long_has_no_answer_that_comes_later(hooked):
    """It lies there already when the dispatcher finds that the time is up."""
    server = hooked()
    worker, dispatcher = server.workers()[0], server.dispatcher()
    os.kill(worker, signal.SIGSTOP)
    assert server.get("/local/call/800").body == b"called"
    wait_for(lambda: server.status()["pools"][0]["in_hand"] == 1)
    os.kill(dispatcher, signal.SIGSTOP)
    os.kill(worker, signal.SIGCONT)
    time.sleep(1)
    os.kill(dispatcher, signal.SIGCONT)
    told = wait_for(lambda: re.search(r"the hurried one answered (\d+): (\w*)", server.log()))
    assert told.groups() in [("504", ""), ("200", "called")]


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


@pytest.mark.parametrize("kind", CLASSES)
def test_a_program_that_a_handler_starts_gets_all_signals(hooked, kind):
    """As docs/handlers.md says."""
    server = hooked("--worker-class", kind)
    assert server.get("/program").body == b'{"status":0}'
    for line in ("SigBlk", "SigIgn"):
        found = wait_for(lambda line=line: re.search(line + r":\s*([0-9a-f]{16})\b",
                                                     server.log()))
        # 32 and 33 are the C library's own.
        assert int(found.group(1), 16) & ~(3 << 31) == 0


def test_a_worker_that_cannot_take_a_configuration_has_a_successor(hooked):
    server = hooked()
    worker = server.workers()[0]
    with server.client() as client, server.client() as waiting:
        waiting.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_deferred(server)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, 1000))
        assert client.get("/local/config/7").status == 200
        wait_for(lambda: "on_config 7" in server.log())
        assert waiting.answer().body == b"the worker leaves"
        wait_for(lambda: server.workers() != [worker])
        assert client.get("/early").status == 200


def test_who_publishes_faster_than_it_is_taken_is_refused(hooked):
    server = hooked()
    with server.client(timeout=30) as client:
        for _ in range(3):
            published = int(re.search(rb"\d+", client.get("/wrong/flood").body).group())
            assert published > 100
            assert client.get("/early").body == b"early"
        wait_for(lambda: server.status()["dispatchers"][0]["published"] >= published)
    assert server.status()["pools"][0]["restarts"] == 0


def test_who_publishes_what_nobody_takes_is_refused(hooked):
    """The dispatcher is stopped before its worker goes on, and goes on when that is done."""
    server = hooked()
    stopped = [server.workers()[0], server.dispatcher()]
    with server.client(timeout=30) as client:
        try:
            os.kill(stopped[0], signal.SIGSTOP)
            client.send(b"GET /wrong/flood HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: server.status()["pools"][0]["workers"][0]["requests"])
            os.kill(stopped[1], signal.SIGSTOP)
            os.kill(stopped[0], signal.SIGCONT)
            wait_for(lambda: "flooded" in server.log(), 20)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        assert json.loads(client.answer().body)["refused"]


def test_the_worker_is_told_that_it_is_to_leave(hooked):
    server = hooked()
    with server.client() as client:
        client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_deferred(server)
        server.process.send_signal(signal.SIGHUP)
        assert client.answer().body == b"the worker leaves"
    wait_for(lambda: "torn down" in server.log())
    assert server.log().index("on_stop") < server.log().index("torn down")


def test_what_a_worker_calls_when_it_leaves_is_answered(hooked):
    server = hooked()
    assert server.get("/goodbye").status == 200
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "torn down" in server.log())
    assert "the successor answered 200: goodbye" in server.log()
    assert f"the successor {SAID}" in server.log()
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: server.log().count("torn down") == 2)


def test_who_calls_again_and_again_holds_up_no_stop(hooked, monkeypatch):
    monkeypatch.setenv("HOOKED_CALLS", "1")  # and a stop may take as long as it likes
    server = hooked()
    wait_for(lambda: server.status()["pools"][1]["served"] > 2)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(8) == 0
    assert "torn down" in server.log()
    assert "of the calls all were answered" in server.log()


def test_who_leaves_is_told_with_the_data(hooked):
    server = hooked()
    client = server.client()
    client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until_deferred(server)
    client.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: a reset
    client.socket.close()
    wait_for(lambda: "on_disconnect /wait waiting" in server.log())
