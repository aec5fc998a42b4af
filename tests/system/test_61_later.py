# SPDX-License-Identifier: MIT
"""Answers that come later: deferred requests, keep-alive, cancellation, their limits."""
import json
import os
import signal
import socket
import threading
import time

import pytest

from conftest import is_alive, wait_for

CLASSES = ["process", "thread"]


def pool_of(server):
    return server.status()["pools"][0]


def wait_until_deferred(server, count=1):
    """Until that many handlers have run and put their answers off."""
    wait_for(lambda: [request["state"] for worker in pool_of(server)["workers"]
                      for request in worker["requests"]].count("deferred") == count, 20)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_worker_does_other_things_meanwhile(start, kind):
    server = start("--workers", "1", "--worker-class", kind)
    with server.client() as slow, server.client() as quick:
        slow.send(b"GET /defer/700 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_deferred(server)
        began = time.monotonic()
        for _ in range(20):
            assert quick.get("/hello").status == 200
        assert slow.answer().body == b'{"deferred_ms":700}'
        assert time.monotonic() - began < 3
    assert pool_of(server)["in_hand"] == 0


def test_what_is_deferred_is_listed_with_its_path(start):
    server = start("--workers", "1")
    with server.client() as client:
        client.send(b"GET /defer/1000?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_deferred(server)
        listed = pool_of(server)["workers"][0]["requests"][0]
        assert (listed["method"], listed["path"]) == ("GET", "/defer/1000")
        assert client.answer().status == 200


def test_the_order_of_answers_is_free(start):
    server = start("--workers", "1")
    clients = [server.client() for _ in range(10)]
    for number, client in enumerate(clients):
        client.send(f"GET /defer/{500 - 40 * number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    done = []
    threads = [threading.Thread(target=lambda n=n, c=c: (c.answer(), done.append(n)))
               for n, c in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done[0] > 5 and done[-1] == 0, "the last to ask was the first to be answered"
    for client in clients:
        client.socket.close()


def test_on_one_connection_they_come_in_order(start):
    server = start("--workers", "1")
    with server.client() as client:
        client.send(b"".join(f"GET /defer/{ms} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                             for ms in (300, 1, 200, 50)))
        assert [json.loads(client.answer().body)["deferred_ms"] for _ in range(4)] == \
            [300, 1, 200, 50]


def test_thousands_are_outstanding_in_one_worker(start):
    server = start("--workers", "1", SAMPLER_MAX_PENDING="5000", SAMPLER_QUEUE_MAX="5000")
    clients = []
    for _ in range(50):
        client = server.client(timeout=60)
        client.send(b"GET /defer/3000 HTTP/1.1\r\nHost: x\r\n\r\n" * 60)
        clients.append(client)
    wait_for(lambda: pool_of(server)["in_hand"] >= 2500, 20, "thousands in hand")
    for client in clients:
        for _ in range(60):
            assert client.answer().body == b'{"deferred_ms":3000}'
        client.socket.close()
    pool = pool_of(server)
    assert (pool["in_hand"], pool["restarts"]) == (0, 0)
    assert pool["served"] >= 3000


def test_a_deadline_that_passes_answers_504_and_tells_the_worker(start):
    server = start("--workers", "1", "--log-level", "debug", SAMPLER_REQUEST_TIMEOUT_MS="300")
    with server.client() as client:
        began = time.monotonic()
        assert client.get("/defer/60000").status == 504
        assert 0.25 < time.monotonic() - began < 3
        wait_for(lambda: "the client of /defer/60000 has gone" in server.log())
        wait_for(lambda: "(GET /defer/60000) took longer than 300 ms: 504" in server.log())
        assert client.get("/defer/10").status == 200
        wait_for(lambda: pool_of(server)["in_hand"] == 0)
    assert pool_of(server)["restarts"] == 0


def test_who_answered_in_time_is_not_late_because_the_dispatcher_is(start, tmp_path):
    ran = tmp_path / "ran"
    server = start("--workers", "1", SAMPLER_REQUEST_TIMEOUT_MS="500", SAMPLER_RAN=str(ran))
    dispatcher = server.dispatcher()
    with server.client() as client:
        client.send(b"GET /sleep/100 HTTP/1.1\r\nHost: x\r\nX-Request-Id: r\r\n\r\n")
        wait_for(lambda: ran.exists() and ran.read_text())
        os.kill(dispatcher, signal.SIGSTOP)
        time.sleep(0.8)
        os.kill(dispatcher, signal.SIGCONT)
        assert client.answer().status == 200


def test_a_late_answer_is_dropped_and_counted(start):
    server = start("--workers", "1", SAMPLER_REQUEST_TIMEOUT_MS="300")
    with server.client() as client:
        assert client.get("/sleep/800").status == 504
        wait_for(lambda: pool_of(server)["late_answers"] == 1)
        assert client.get("/hello").body == b'{"message":"hello"}'


@pytest.mark.parametrize("kind", CLASSES)
def test_keep_alive_resets_the_deadline_and_the_heartbeat(start, kind):
    server = start("--workers", "1", "--worker-class", kind, SAMPLER_REQUEST_TIMEOUT_MS="400",
                   SAMPLER_HEARTBEAT_MS="700")
    assert server.get("/alive/2000").status == 200
    assert server.get("/sleep/650").status == 504
    assert pool_of(server)["restarts"] == 0


@pytest.mark.parametrize("behind", [
    b"", b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"])
def test_who_leaves_the_queue_is_never_seen_by_a_worker(start, tmp_path, behind):
    ran = tmp_path / "ran"
    server = start("--workers", "1", SAMPLER_RAN=str(ran))
    with server.client() as busy:
        busy.send(b"GET /sleep/800 HTTP/1.1\r\nHost: x\r\nX-Request-Id: busy\r\n\r\n")
        wait_for(ran.exists)
        time.sleep(0.05)
        leavers = [server.client() for _ in range(5)]
        for number, client in enumerate(leavers):
            client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Request-Id: leaver%d\r\n\r\n" %
                        number + behind)
        wait_for(lambda: pool_of(server)["queue"] == 5)
        for client in leavers:
            client.socket.close()
        wait_for(lambda: pool_of(server)["queue"] == 0)
        assert busy.answer().status == 200
    assert server.get("/hello").status == 200
    assert ran.read_text() == "busy\n"


def test_a_worker_that_is_at_it_can_ask(start):
    server = start("--workers", "1")
    client = server.client()
    client.send(b"GET /cancelled/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: pool_of(server)["workers"][0]["state"] == "busy")
    client.socket.close()
    wait_for(lambda: "worked in vain: cancelled" in server.log())
    assert server.get("/hello").status == 200
    assert json.loads(server.get("/cancelled/20").body) == {"worked_ms": 20}


def test_a_deferred_request_of_a_client_that_resets(start):
    server = start("--workers", "1", "--log-level", "debug")
    client = server.client()
    client.send(b"GET /defer/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until_deferred(server)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.socket.close()
    wait_for(lambda: "the client of /defer/60000 has gone" in server.log())
    wait_for(lambda: pool_of(server)["in_hand"] == 0)


def test_a_half_closed_client_gets_its_deferred_answer(start):
    server = start("--workers", "1")
    with server.client() as client:
        client.send(b"GET /defer/300 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_deferred(server)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().status == 200


def test_what_waited_when_its_client_closed_its_side_knows_of_it(start):
    server = start("--workers", "1")
    with server.client() as client:
        assert client.get("/cancelled/100").status == 200  # such are slow, and wait in the queue
        client.send(b"GET /cancelled/3000 HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        wait_for(lambda: pool_of(server)["queue"] == 1)
        client.socket.shutdown(socket.SHUT_WR)
        for _ in range(2):
            assert json.loads(client.answer().body)["worked_ms"] < 3000


def test_a_death_costs_what_was_deferred_and_no_more(start):
    server = start("--workers", "2")
    clients = [server.client() for _ in range(20)]
    for client in clients:
        client.send(b"GET /defer/2000 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until_deferred(server, 20)
    victim = pool_of(server)["workers"][0]
    os.kill(victim["pid"], signal.SIGKILL)
    statuses = sorted(client.answer().status for client in clients)
    assert statuses == [200] * (20 - len(victim["requests"])) + [502] * len(victim["requests"])
    assert len(victim["requests"]) in range(1, 20)
    for client in clients:
        client.socket.close()


def test_of_many_that_a_death_costs_some_are_named(start):
    server = start("--workers", "1")
    clients = [server.client() for _ in range(20)]
    for client in clients:
        client.send(b"GET /defer/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until_deferred(server, 20)
    assert server.get("/crash/segv").status == 502
    for client in clients:
        assert client.answer().status == 502
        client.socket.close()
    wait_for(lambda: "(GET /crash/segv)" in server.log())
    wait_for(lambda: "died holding 12 requests more" in server.log())
    assert server.log().count("(GET /defer/60000): 502") == 8


@pytest.mark.parametrize("how", ["reload", "stop"])
def test_what_is_deferred_is_finished_before_the_worker_leaves(start, how):
    server = start("--workers", "1")
    with server.client() as client:
        client.send(b"GET /defer/900 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_deferred(server)
        server.process.send_signal(signal.SIGHUP if how == "reload" else signal.SIGTERM)
        time.sleep(0.1)
        assert client.answer().status == 200
    if how == "stop":
        assert server.process.wait(5) == 0


def test_a_new_dispatcher_finds_the_worker_free(start):
    server = start("--workers", "1", "--log-level", "debug")
    worker = server.workers()[0]
    with server.client() as client:
        client.send(b"GET /defer/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_deferred(server)
        os.kill(server.dispatcher(), signal.SIGKILL)
        wait_for(lambda: "the client of /defer/60000 has gone" in server.log())

    def again():
        try:
            return server.get("/defer/10").status == 200
        except (ConnectionError, AssertionError, OSError):
            return False
    wait_for(again)
    assert server.workers() == [worker] and is_alive(worker)
