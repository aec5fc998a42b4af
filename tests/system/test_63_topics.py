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


def slow_subscribers(client):
    return json.loads(client.get("/status").body)["dispatchers"][0]["slow_subscribers"]


def until_one_is_cut_off(client, publish_one):
    """How many events of 60000 bytes that takes."""
    for count in range(1, 500):
        publish_one()
        if slow_subscribers(client):
            return count
    raise AssertionError("nobody was cut off")


def test_many_small_events_at_once_cut_off_only_who_does_not_read(hooked):
    """More of them than may wait for a subscriber come before anything is sent."""
    server = hooked()
    with server.client(timeout=20) as publisher:
        with server.client(timeout=20) as keen:
            assert keen.begin("/subscribe").status == 200
            assert keen.event() == ": subscribed"
            publisher.send(b"GET /local/numbered/1000 HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
            for number in range(1, 201):
                assert publisher.answer().status == 200
                assert keen.event() == f"id: {number}\ndata: {'x' * 1000}"
        with server.client(timeout=20) as lazy:
            assert lazy.begin("/subscribe").status == 200
            assert slow_subscribers(publisher) == 0
            publisher.send(b"GET /local/numbered/60000 HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
            for _ in range(200):
                assert publisher.answer().status == 200
            assert slow_subscribers(publisher) == 1
            with pytest.raises((Closed, AssertionError, ConnectionResetError)):
                while lazy.event() is not None:
                    pass


def test_who_leaves_a_topic_gets_no_more_of_it(hooked):
    server = hooked()
    with server.client() as client, server.client() as listener:
        assert listener.begin("/switch").status == 200
        assert listener.event() == ": subscribed"
        for path in ("/tell/first", "/tell/second", "/switch/now", "/tell/first", "/tell/second"):
            answer = client.get(path)
            assert answer.status == (204 if path == "/switch/now" else 202)
            assert answer.body == b""
        assert listener.event() == "data: first"
        assert listener.event() == "data: second"


def test_an_answer_of_known_length_gets_no_events(hooked):
    """Though its handler had subscribed, before it made something else of it than a stream."""
    server = hooked()
    size = 10_000_000
    with server.client(timeout=20) as client, server.client() as publisher:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        assert client.begin(f"/subscribe/{size}").header("Content-Length") == str(size)
        for _ in range(3):
            assert publisher.get("/local/numbered/20").status == 200
        assert client.read_exactly(size) == b"b" * size
        assert client.get("/early").body == b"early"
    assert server.status()["pools"][0]["restarts"] == 0


def test_a_stop_at_which_a_subscriber_is_cut_off(hooked, tmp_path):
    """By what is published for a request that was not read before, of the client before it."""
    server = hooked("--listen", f"unix:{tmp_path}/s")
    dispatcher = server.dispatcher()
    with server.client() as publisher:
        def publish_one():
            assert publisher.get("/local/numbered/60000").status == 200
        with server.client() as probe:
            assert probe.begin("/subscribe").status == 200
            count = until_one_is_cut_off(publisher, publish_one)
        with server.client() as last, server.client() as lazy:
            assert lazy.begin("/subscribe").status == 200
            for _ in range(count - 1):
                publish_one()
            assert slow_subscribers(publisher) == 1
            os.kill(dispatcher, signal.SIGSTOP)
            server.process.terminate()
            wait_for(lambda: has_pending(dispatcher, signal.SIGTERM))
            last.send(b"GET /local/numbered/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
            os.kill(dispatcher, signal.SIGCONT)
            assert last.answer().status == 200
    assert server.process.wait(5) == 0


def has_pending(pid, number):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        pending = next(line.split()[1] for line in file if line.startswith("ShdPnd"))
    return int(pending, 16) >> (number - 1) & 1


def test_the_old_protocol_shows_that_a_stream_lost_its_end(start):
    """It is over, but when the server leaves the client has not taken all of it."""
    server = start("--workers", "1", SAMPLER_SHUTDOWN_MS="100")

    def listen():
        client = server.client(timeout=20)
        client.send(b"GET /events?channel=all HTTP/1.0\r\n\r\n")
        client.read_until(b": subscribed\n\n")
        return client
    probe = listen()
    with server.client() as publisher:
        def publish_one():
            publish(publisher, "all", "x" * 60000)
        count = until_one_is_cut_off(publisher, publish_one)
        listener = listen()
        for _ in range(count - 1):
            publish_one()
    server.process.terminate()
    assert server.process.wait(5) == 0
    with pytest.raises(ConnectionResetError):
        while listener.more():
            pass
    listener.socket.close()
    probe.socket.close()


def test_what_is_published_stands_between_events(hooked):
    server = hooked("--workers", "1")
    with server.client() as reader, server.client() as publisher:
        reader.send(b"GET /history HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reader.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        for _ in range(3):  # while the worker has more than there is room for
            assert publisher.get("/local/numbered/10").status == 200
        taken = b""
        while taken.count(b"\n\n") < 4:
            taken += reader.chunk()
    events = taken.split(b"\n\n")[:4]
    # The first may have come before it had begun with its own.
    events.remove(b"data: " + b"a" * 512 * 1024)
    for number, event in enumerate(events):
        assert sorted(event.split(b"\n")) == [b"data: xxxxxxxxxx", b"id: %d" % (number + 1)]


def test_a_stream_has_some_topics_and_no_more(hooked):
    server = hooked("--workers", "1")
    with server.client() as client:
        assert client.begin("/topics/256").status == 200
        assert b"subscribed" in client.chunk()
    with server.client() as client:
        with pytest.raises((Closed, ConnectionError)):
            client.begin("/topics/300")
            client.chunk()
    wait_for(lambda: "it has as many topics as a stream may have" in server.log())
    assert server.status()["pools"][0]["restarts"] == 0


def test_who_hears_nothing_keeps_no_other_waiting(hooked):
    server = hooked("--workers", "2")
    assert server.get("/deaf").status == 200
    time.sleep(0.3)
    began = time.monotonic()
    for _ in range(20):
        assert server.get("/later/x").status == 200
    assert time.monotonic() - began < 0.9, "the other worker is there"


def test_who_hears_nothing_is_asked_again(hooked):
    server = hooked("--workers", "1")
    assert server.get("/deaf").status == 200
    time.sleep(0.1)
    clients = [server.client() for _ in range(50)]
    for client in clients:
        client.send(b"GET /later/x HTTP/1.1\r\nHost: x\r\n\r\n")
    for client in clients:
        assert client.answer().status == 200
