# SPDX-License-Identifier: MIT
"""Published events: from any worker of any pool to all who are subscribed."""
import json
import os
import resource
import select
import signal
import socket
import time

import pytest

from client import Closed
from conftest import BUILD, Server, wait_for


def publish(client, channel, message):
    answer = client.request("POST", "/publish", json.dumps(
        {"channel": channel, "msg": message}).encode())
    assert answer.status == 200, answer.body
    return json.loads(answer.body)["published"]


def subscribe(server, channel):
    client = server.client(timeout=20)
    assert client.begin(f"/events?channel={channel}").status == 200
    assert client.event() == ": subscribed"
    return client


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_all_subscribers_of_all_workers_get_it(start, kind):
    server = start("--workers", "3", "--worker-class", kind)
    listeners = [subscribe(server, "news") for _ in range(60)]
    other = subscribe(server, "other")
    held = [len(worker["requests"]) for worker in server.status()["pools"][0]["workers"]]
    assert min(held) > 0, f"held by all workers: {held}"
    with server.client() as client:
        for number in range(50):
            assert publish(client, "news", f"number {number}\nof fifty") == 60
        assert publish(client, "other", "alone") == 1
        assert publish(client, "nobody", "lost") == 0
    for listener in listeners:
        for number in range(50):
            assert listener.event() == f"data: number {number}\ndata: of fifty"
        listener.socket.close()
    assert other.event() == "data: alone"
    other.socket.close()
    wait_for(lambda: server.get("/subscribers").body == b"0\n")


def test_who_subscribes_gets_what_is_published_from_then_on(start):
    server = start("--workers", "2")
    with server.client() as client:
        for number in range(200):
            listener = server.client()
            listener.begin("/events?channel=now")
            assert publish(client, "now", str(number)) == 1
            assert listener.event() == ": subscribed"
            assert listener.event() == f"data: {number}"
            listener.socket.close()
            wait_for(lambda: server.get("/subscribers").body == b"0\n")


def test_wrong_publications(start):
    server = start("--workers", "1")
    with server.client() as client:
        for body in (b"", b"{", b"[]", b'{"channel":"a"}', b'{"msg":1}'):
            assert client.request("POST", "/publish", body).status == 400
        assert client.request("POST", "/publish", json.dumps(
            {"channel": "", "msg": "x"}).encode()).status == 400
        assert client.request("POST", "/publish", json.dumps(
            {"channel": "c" * 257, "msg": "x"}).encode()).status == 400
        assert client.request("POST", "/publish", json.dumps(
            {"channel": "c", "msg": "x" * 70000}).encode()).status == 413
        assert publish(client, "c" * 256, "x" * 60000) == 0
        assert client.get("/events?channel=" + "c" * 257).status == 400


def test_one_who_does_not_read_is_cut_off_and_nobody_else(start):
    server = start("--workers", "1")
    lazy = subscribe(server, "flood")
    keen = subscribe(server, "flood")
    with server.client(timeout=20) as client:
        counts = []
        for number in range(400):
            counts.append(publish(client, "flood", str(number) + "x" * 30000))
            assert keen.event() == f"data: {number}" + "x" * 30000
    assert counts[0] == 2 and counts[-1] == 1
    assert counts == sorted(counts, reverse=True)
    wait_for(lambda: "cut off a subscriber that reads too slowly" in server.log())
    assert server.status()["dispatchers"][0]["slow_subscribers"] == 1
    got = 0
    with pytest.raises((Closed, AssertionError, ConnectionResetError)):
        while lazy.event() is not None:
            got += 1
    assert 0 < got < 400, "it sees that it does not have all"
    keen.socket.close()
    lazy.socket.close()


def test_a_dead_publisher_harms_no_subscriber(start):
    server = start("--workers", "2")
    listener = subscribe(server, "kept")
    held = [worker for worker in server.status()["pools"][0]["workers"] if worker["requests"]]
    other = [worker for worker in server.status()["pools"][0]["workers"]
             if not worker["requests"]]
    assert len(held) == 1
    os.kill(other[0]["pid"], signal.SIGKILL)
    with server.client() as client:
        assert publish(client, "kept", "still there") == 1
    assert listener.event() == "data: still there"
    listener.socket.close()


def test_ten_thousand_subscribers(start):
    """10,000 subscribers of 4 workers, 100 events, one that reads a byte a second; none
    lost, none doubled, and /hello answers all the while."""
    many = 10000
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[0] < many + 1000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (many + 1000, max(limits[1], many + 1000)))
    server = start("--workers", "4", SAMPLER_MAX_PENDING="20000",
                   SAMPLER_QUEUE_MAX="20000")
    waiting = select.epoll()
    listeners = {}
    for _ in range(many):
        sock = socket.create_connection(server.address, 20)
        sock.sendall(b"GET /events?channel=all HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.setblocking(False)
        listeners[sock.fileno()] = [sock, b""]
    wait_for(lambda: server.get("/subscribers").body == b"%d\n" % many, 60, "all of them")
    slow = next(iter(listeners))
    for number in listeners:
        if number != slow:
            waiting.register(number, select.EPOLLIN)

    def read(timeout):
        for number, _ in waiting.poll(timeout, 4096):
            data = listeners[number][0].recv(65536)
            assert data, "a subscriber was cut off"
            listeners[number][1] += data

    slowly = b""
    hellos = 0
    last_byte = 0
    with server.client(timeout=20) as publisher, server.client(timeout=20) as greeter:
        for number in range(100):
            assert publish(publisher, "all", f"event {number}") == many
            assert greeter.get("/hello").status == 200
            hellos += 1
            read(0)
            if time.monotonic() - last_byte >= 1:
                last_byte = time.monotonic()
                slowly += listeners[slow][0].recv(1)
        wanted = b"".join(b"data: event %d\n\n" % n for n in range(100))
        end = time.monotonic() + 60

        def complete(data):
            return data.endswith(b"data: event 99\n\n\r\n")
        while not all(complete(data) for number, (_, data) in listeners.items()
                      if number != slow):
            assert time.monotonic() < end
            read(0.5)
            assert greeter.get("/hello").status == 200
    for number, (sock, data) in listeners.items():
        if number == slow:
            data = slowly
            sock.settimeout(10)
            while not complete(data):
                data += sock.recv(65536)
        text = b"".join(line for line in data.split(b"\r\n\r\n", 1)[1].split(b"\r\n")[1::2])
        assert text == b": subscribed\n\n" + wanted
    assert hellos == 100
    status = server.status()
    pool = status["pools"][0]
    assert len(pool["workers"]) == 4 and pool["restarts"] == 0
    for worker in pool["workers"]:
        assert 1000 < len(worker["requests"]) < 4000, "held by all of them"
        assert os.environ.get("CREW_CFLAGS") or worker["rss_bytes"] < 40 << 20
    dispatcher = int(next(line.split()[1] for line in open(
        f"/proc/{status['dispatchers'][0]['pid']}/status") if line.startswith("VmRSS")))
    if not os.environ.get("CREW_CFLAGS"):  # sanitizers keep what is freed
        assert dispatcher < 80 << 10, f"{dispatcher} KiB for {many} streams"
    print("dispatcher", dispatcher, "KiB; workers",
          [worker["rss_bytes"] >> 10 for worker in pool["workers"]], "KiB")
    for sock, _ in listeners.values():
        sock.close()
    wait_for(lambda: server.get("/subscribers").body == b"0\n", 30)


def test_what_is_said_while_all_are_sent_what_there_was(tmp_path):
    """Who goes on with its pipelined requests as soon as its answers are sent publishes to others,
    of which it is not settled yet what was sent to them: no event comes twice or in part."""
    server = Server(str(tmp_path), ["--workers", "1", "--listen", f"unix:{tmp_path}/s"],
                    program=os.path.join(BUILD, "tests", "hooked"))
    try:
        with server.client() as first, server.client() as listener:
            assert first.get("/status").status == 200
            assert listener.begin("/subscribe").status == 200
            assert listener.event() == ": subscribed"
            asked = [b"/status", b"/local/numbered/20", *[b"/status"] * 150, b"/local/numbered/20000",
                     b"/local/numbered/30"]
            for number in range(1, 30, 3):
                first.send(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in asked))
                for _ in asked:
                    assert first.answer().status == 200
                for size in (20, 20000, 30):
                    assert listener.event() == f"id: {number}\ndata: {'x' * size}"
                    number += 1
    finally:
        assert server.stop() == 0
