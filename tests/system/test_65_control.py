# SPDX-License-Identifier: MIT
"""Queues and their limits, pausing, configuration, who gets the next request."""
import json
import os
import signal
import statistics
import threading
import time

import pytest

from conftest import wait_for

CLASSES = ["process", "thread"]


def pool_of(server):
    return server.status()["pools"][0]


def busy(server, count=1, ms=1000):
    clients = [server.client() for _ in range(count)]
    for client in clients:
        client.send(b"GET /sleep/%d HTTP/1.1\r\nHost: x\r\n\r\n" % ms)
    wait_for(lambda: pool_of(server)["in_hand"] >= count)
    return clients


def test_a_full_queue_answers_503(start):
    server = start("--workers", "1", SAMPLER_QUEUE_MAX="3")
    clients = busy(server)
    time.sleep(0.05)
    waiting = [server.client() for _ in range(3)]
    for client in waiting:
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: pool_of(server)["queue"] == 3)
    answer = server.get("/hello")
    assert answer.status == 503 and answer.header("Retry-After")
    assert json.loads(answer.body)["error"] == "the queue of this service is full"
    assert server.get("/api/items").status == 200, "the other pool has its own"
    assert [client.answer().status for client in clients + waiting] == [200] * 4


def test_the_queues_are_bounded_in_sum(start):
    server = start("--workers", "1", SAMPLER_MAX_PENDING="3")
    clients = busy(server)
    time.sleep(0.05)
    waiting = [server.client() for _ in range(3)]
    for client in waiting:
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: server.status()["dispatchers"][0]["pending"] == 3)
    assert server.get("/hello").status == 503
    assert [client.answer().status for client in clients + waiting] == [200] * 4
    assert server.status()["dispatchers"][0]["pending"] == 0


def test_one_client_may_queue_so_much(start):
    server = start("--workers", "1", SAMPLER_QUEUE_CLIENT_MAX="2")
    clients = busy(server)
    time.sleep(0.05)
    waiting = [server.client() for _ in range(2)]
    for client in waiting:
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: pool_of(server)["queue"] == 2)
    answer = server.get("/hello")
    assert answer.status == 503
    assert json.loads(answer.body)["error"] == "too many requests of this client wait"
    assert [client.answer().status for client in clients + waiting] == [200] * 3


def test_the_wait_has_a_deadline(start):
    server = start("--workers", "1", SAMPLER_QUEUE_TIMEOUT_MS="200")
    clients = busy(server)
    time.sleep(0.05)
    assert server.get("/plain").status == 503
    wait_for(lambda: "(GET /plain) waited 200 ms for a worker: 503" in server.log())
    assert clients[0].answer().status == 200


def test_a_long_queue_is_told_once_for_each_time(start):
    server = start("--workers", "1", SAMPLER_QUEUE_WARNING="10",
                   SAMPLER_LOG_REPEAT_MS=str(2**32 - 1))
    for turn in range(1, 4):
        clients = busy(server, ms=400)
        time.sleep(0.05)
        for _ in range(15):
            client = server.client()
            client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            clients.append(client)
        for client in clients:
            assert client.answer().status == 200
            client.socket.close()
        wait_for(lambda turn=turn: server.log().count("requests wait for a worker") == turn)


def test_a_queue_that_goes_up_and_down_by_a_little_is_told_of_once(start):
    server = start("--workers", "1", SAMPLER_QUEUE_WARNING="10",
                   SAMPLER_LOG_REPEAT_MS=str(2**32 - 1))
    worker, = server.workers()
    clients, waiting = busy(server), []
    os.kill(worker, signal.SIGSTOP)
    try:
        for length in (11, 9, 11, 5, 11, 4, 11):
            while len(waiting) > length:
                waiting.pop().socket.close()
            while len(waiting) < length:
                waiting.append(server.client())
                waiting[-1].send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda length=length: pool_of(server)["queue"] == length)
    finally:
        os.kill(worker, signal.SIGCONT)
    for client in clients + waiting:
        assert client.answer().status == 200
        client.socket.close()
    server.stop()
    # Once more when it had become half as long.
    assert server.log().count("requests wait for a worker") == 2


@pytest.mark.parametrize("kind", CLASSES)
def test_a_paused_worker_leaves_the_work_to_others(start, kind):
    server = start("--workers", "2", "--worker-class", kind)
    with server.client() as client, server.client() as ticks:
        ticks.begin("/ticks/20")
        paused = json.loads(client.request("POST", "/pause/600").body)["worker"]
        states = [worker["state"] for worker in pool_of(server)["workers"]]
        assert states[paused] == "paused"
        for _ in range(50):
            assert json.loads(client.get("/whoami").body)["worker"] == 1 - paused
        before = int(ticks.event().split()[1])
        assert int(ticks.event().split()[1]) == before + 1, "its streams go on"
        wait_for(lambda: [worker["state"] for worker in pool_of(server)["workers"]] ==
                 ["ready", "ready"])


def test_with_all_paused_requests_wait(start):
    server = start("--workers", "1")
    with server.client() as client:
        assert client.request("POST", "/pause/400").status == 200
        began = time.monotonic()
        assert client.get("/hello").status == 200
        assert time.monotonic() - began > 0.3


@pytest.mark.parametrize("kind", CLASSES)
def test_a_configuration_reaches_all_workers_and_those_to_come(start, kind):
    server = start("--workers", "2", "--worker-class", kind)

    def config_of_each():
        """One after the other is paused, so that the other answers."""
        found = {}
        with server.client() as client:
            while len(found) < 2:
                paused = json.loads(client.request("POST", "/pause/100").body)["worker"]
                found[1 - paused] = json.loads(client.get("/config").body)
                client.request("POST", "/pause/300")  # the other one
                wait_for(lambda: pool_of(server)["workers"][paused]["state"] == "ready")
                found[paused] = json.loads(client.get("/config").body)
                wait_for(lambda: pool_of(server)["workers"][1 - paused]["state"] == "ready")
        return found
    with server.client() as client:
        assert client.get("/config").body == b'{"config":null}'
        for number in range(20):
            assert client.request("POST", "/config", b'{"n":%d}' % number).status == 202
        wait_for(lambda: client.get("/config").body == b'{"n":19}')
    # Each takes them in its own time.
    wait_for(lambda: list(config_of_each().values()) == [{"n": 19}] * 2)
    for pid in set(server.workers()):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: [worker["state"] for worker in pool_of(server)["workers"]] == ["ready"] * 2)
    for found in config_of_each().values():
        assert found == {"n": 19}
    server.process.send_signal(signal.SIGTTIN)
    wait_for(lambda: [worker["state"] for worker in pool_of(server)["workers"]] == ["ready"] * 3)
    for _ in range(10):
        assert server.get("/config").body == b'{"n":19}'


@pytest.mark.parametrize("kind", CLASSES)
def test_no_request_is_handled_before_the_configuration(start, kind):
    """Workers are born while requests wait for them."""
    server = start("--workers", "2", "--worker-class", kind)
    assert server.client().request("POST", "/config", b'{"n":1}').status == 202
    wait_for(lambda: {server.get("/config").body for _ in range(20)} == {b'{"n":1}'})
    over = threading.Event()
    answers = set()

    def ask():
        with server.client() as client:
            while not over.is_set():
                answer = client.get("/config")
                if answer.status == 200:
                    answers.add(answer.body)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(12):
            for pid in set(server.workers()):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
            wait_for(lambda: [worker["state"] for worker in pool_of(server)["workers"]] ==
                     ["ready"] * 2)
    finally:
        over.set()
        for client in clients:
            client.join()
    assert answers == {b'{"n":1}'}


def test_configurations_of_any_size_and_wrong_ones(start):
    server = start("--workers", "1")
    with server.client() as client:
        large = json.dumps({"text": "x" * 3000000}).encode()
        assert client.request("POST", "/config", large).status == 202
        wait_for(lambda: len(client.get("/config").body) > 3000000)
        answer = client.request("POST", "/config", b'{"a": }')
        assert answer.status == 400 and b"line 1, column 7" in answer.body
        assert client.request("POST", "/config", b"").status == 400
        assert client.request("POST", "/config", b'{"a":1,"a":2}').status == 400
        assert client.request("POST", "/config", b"[1]").status == 202
        wait_for(lambda: client.get("/config").body == b"[1]")


def test_a_configuration_that_cannot_be_passed_on_is_told_so(start):
    server = start("--workers", "1")
    with server.client() as client:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            answers = [client.request("POST", "/config", b"{}") for _ in range(600)]
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert {answer.status for answer in answers} == {202, 503}
        assert b"the configuration cannot be passed on now: " in answers[-1].body
        assert answers[-1].header("Retry-After") == "1"


def test_a_configuration_outlives_the_dispatcher(start):
    server = start("--workers", "1")
    with server.client() as client:
        assert client.request("POST", "/config", b"[7]").status == 202
    os.kill(server.dispatcher(), signal.SIGKILL)

    def config():
        try:
            return server.get("/config").body
        except (ConnectionError, AssertionError, OSError):
            return None
    wait_for(lambda: config() == b"[7]")


def test_no_request_waits_behind_a_slow_one(start):
    """A bimodal load: with one worker in long requests the short ones take the other."""
    server = start("--workers", "2")
    stop = threading.Event()

    def slow():
        with server.client(timeout=30) as client:
            while not stop.is_set():
                assert client.get("/sleep/400").status == 200
    thread = threading.Thread(target=slow)
    thread.start()
    try:
        waits = []
        clients = [server.client() for _ in range(8)]
        end = time.monotonic() + 2
        while time.monotonic() < end:
            began = time.monotonic()
            for client in clients:
                client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            for client in clients:
                assert client.answer().status == 200
            waits.append(time.monotonic() - began)
    finally:
        stop.set()
        thread.join()
    assert len(waits) > 20
    assert statistics.quantiles(waits, n=100)[97] < 0.2, "none waited for the slow ones"


def test_errors_are_logged_with_their_place(start):
    server = start("--workers", "1")
    assert server.get("/fail/500").status == 500
    wait_for(lambda: "as you wished" in server.log())
    line = next(line for line in server.log().splitlines() if "as you wished" in line)
    assert "route GET /fail/{status:int}" in line and "pages.c:" in line
    assert " < " in line, "a backtrace"
    assert server.get("/fail/404").status == 404
    assert server.log().count("as you wished") == 1, "a refusal is no failure"
