# SPDX-License-Identifier: MIT
"""Streams: chunks, Server-Sent Events, NDJSON, multipart; their clients' pace and end."""
import json
import os
import re
import signal
import socket
import time

import pytest

from client import Closed
from conftest import wait_for

CLASSES = ["process", "thread"]


def pool_of(server):
    return server.status()["pools"][0]


def streams(server):
    return int(server.get("/subscribers").body)


def test_chunks(server):
    with server.client() as client:
        answer = client.get("/chunks/1000")
        assert answer.header("Transfer-Encoding") == "chunked"
        assert answer.header("Content-Length") is None
        assert answer.body == b"".join(b"chunk %d\n" % n for n in range(1, 1001))
        assert client.get("/hello").status == 200, "the connection is kept"
        assert client.get("/chunks/0").body == b""


def test_all_are_told_when_their_dispatcher_dies(start):
    server = start("--workers", "1", "--log-level", "debug", SAMPLER_LOG_REPEAT_MS="4294967295")
    clients = [server.client() for _ in range(40)]
    for client in clients:
        assert client.begin("/ticks/1").status == 200
    dispatcher = server.dispatcher()
    os.kill(dispatcher, signal.SIGSTOP)  # what all of them send finds no room any more
    time.sleep(0.3)
    os.kill(dispatcher, signal.SIGKILL)
    wait_for(lambda: server.log().count("the client of /ticks/1 has gone") == 40)


def test_the_old_protocol_ends_with_the_connection(server):
    with server.client() as client:
        client.send(b"GET /chunks/50 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        while client.more():
            pass
        head, body = client.buffer.split(b"\r\n\r\n", 1)
        assert b"chunked" not in head
        assert b"\r\nConnection: close" in head
        assert body == b"".join(b"chunk %d\n" % n for n in range(1, 51))


def test_head_of_a_stream_ends_at_once(server):
    before = streams(server)
    with server.client() as client:
        for target in ("/chunks/5", "/ticks/10", "/events"):
            assert client.request("HEAD", target).status == 200
        assert client.get("/hello").status == 200
    wait_for(lambda: streams(server) == before)


def test_head_of_a_stream_leaves_nothing_behind(start):
    """What was begun for it (a timer) is let go of in on_disconnect."""
    server = start("--workers", "1", "--log-level", "debug", SAMPLER_LOG_REPEAT_MS="4294967295")
    with server.client() as client:
        for _ in range(3):
            assert client.request("HEAD", "/ticks/1").status == 200
    wait_for(lambda: server.log().count("the client of /ticks/1 has gone") == 3)


def test_head_of_a_stream_lets_its_handler_go(hooked):
    server = hooked("--workers", "1")
    with server.client() as client, server.client(timeout=2) as other:
        assert client.request("HEAD", "/own/name").status == 200
        assert other.get("/early").status == 200


def test_events_and_their_fields(server):
    with server.client() as client:
        answer = client.get("/event?data=one%0Atwo%0D%0Athree&event=kind&id=42")
        assert answer.header("Content-Type") == "text/event-stream"
        assert answer.header("Cache-Control") == "no-store"
        assert answer.body == b"event: kind\nid: 42\ndata: one\ndata: two\ndata: three\n\n"
        assert client.get("/event?data=").body == b"data: \n\n"
        assert client.get("/event?data=%F0%9F%98%80").body == "data: 😀\n\n".encode()
        for wrong in ("", "?event=a%0Ab", "?id=a%0Dx&data=1"):
            assert client.get("/event" + wrong).status == 400
        client.begin("/count/3")
        assert [client.event() for _ in range(4)] == [
            "id: 1\ndata: 1", "id: 2\ndata: 2", "id: 3\ndata: 3", None]


def test_records_and_parts(server):
    with server.client() as client:
        answer = client.get("/ndjson/500")
        assert answer.header("Content-Type") == "application/x-ndjson"
        assert [json.loads(line)["n"] for line in answer.body.splitlines()] == \
            list(range(1, 501))
        answer = client.get("/mjpeg/4")
        boundary = re.fullmatch(r"multipart/x-mixed-replace; boundary=(\S+)",
                                answer.header("Content-Type")).group(1).encode()
        parts = answer.body.split(b"--" + boundary)
        assert parts[0] == b"" and parts[-1] == b"--\r\n" and len(parts) == 6
        for part in parts[1:-1]:
            head, body = part[2:].split(b"\r\n\r\n", 1)
            size = int(re.search(rb"Content-Length: (\d+)", head).group(1))
            assert body[size:] == b"\r\n" and body[:2] == b"BM"


@pytest.mark.parametrize("kind", CLASSES)
def test_ticks_come_while_others_are_served(start, kind):
    server = start("--workers", "1", "--worker-class", kind, "--log-level", "debug",
                   SAMPLER_REQUEST_TIMEOUT_MS="300")
    with server.client() as client:
        assert client.begin("/ticks/20").status == 200
        for number in range(1, 51):
            assert client.event() == f"id: {number}\ndata: {number}"
            if number % 10 == 0:
                assert server.get("/hello").status == 200
        assert streams(server) == 1
    wait_for(lambda: "the client of /ticks/20 has gone" in server.log())
    wait_for(lambda: streams(server) == 0)
    assert ": 504" not in server.log(), "a stream has no deadline"


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_a_client_that_goes_is_noticed_though_nothing_is_sent(start, how):
    server = start("--workers", "1", "--log-level", "debug")
    client = server.client()
    client.begin("/events", [("Connection", "close")] if how == "half-close" else [])
    assert client.event() == ": subscribed"
    assert streams(server) == 1
    if how == "reset":
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if how == "half-close":
        client.socket.shutdown(socket.SHUT_WR)
    else:
        client.socket.close()
    wait_for(lambda: "the client of /events has gone" in server.log(), 2)
    wait_for(lambda: streams(server) == 0)
    assert pool_of(server)["in_hand"] == 0
    client.socket.close()


@pytest.mark.parametrize("target", ["/chunks/2000000", "/drip/20000"])
def test_a_slow_reader_costs_little_memory(start, target):
    server = start("--workers", "1")
    with server.client(timeout=60) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        assert server.get("/hello").status == 200
        before = pool_of(server)["workers"][0]["rss_bytes"]
        client.begin(target)
        time.sleep(1)
        if target.startswith("/chunks"):
            assert server.get("/hello").status == 200, "others are served meanwhile"
        status = server.status()
        grown = status["pools"][0]["workers"][0]["rss_bytes"] - before
        # Sanitizers keep what is freed.
        assert grown < 3 << 20 or os.environ.get("CREW_CFLAGS"), "the worker holds little of it"
        total = 0
        digest = b""
        while chunk := client.chunk():
            total += len(chunk)
            digest = chunk[-16:]
        if target.startswith("/chunks"):
            assert digest.endswith(b"chunk 2000000\n")
        else:
            assert total == 20000 * 1024
    assert pool_of(server)["restarts"] == 0


def test_a_handler_that_waits_notices_that_its_client_has_gone(start):
    server = start("--workers", "1")
    client = server.client()
    client.begin("/drip/9000000")
    time.sleep(0.2)
    client.socket.close()
    wait_for(lambda: server.get("/hello").status == 200)
    wait_for(lambda: pool_of(server)["in_hand"] == 0)


def test_a_handler_that_streams_keeps_its_request(hooked):
    """What it has read of it before stays, though others ask."""
    server = hooked("--workers", "1")
    with server.client() as first, server.client() as second:
        assert first.begin("/own/aaaa").status == 200
        second.send(b"GET /own/bbbb HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = b"".join(first.chunk() for _ in range(30))
        assert set(said) == set(b"a")
        first.socket.close()
        second.read_until(b"\r\n\r\n")
        assert set(second.chunk()) == set(b"b")


def test_nobody_waits_behind_a_handler_that_streams(hooked):
    server = hooked("--workers", "2")
    with server.client() as streaming, server.client() as other:
        assert streaming.begin("/own/name").status == 200
        for _ in range(20):
            assert other.get("/early").status == 200
        assert streaming.chunk().startswith(b"name")


def test_a_death_ends_streams_visibly(start):
    server = start("--workers", "1")
    with server.client() as client:
        client.begin("/ticks/10")
        assert client.event() == "id: 1\ndata: 1"
        os.kill(server.workers()[0], signal.SIGKILL)
        with pytest.raises((Closed, AssertionError, ConnectionResetError)):
            while client.event() is not None:
                pass
    assert server.get("/hello").status == 200


def test_the_old_protocol_shows_that_a_stream_was_cut_off(start):
    """Its end is that of the connection: only a reset says that there is more."""
    server = start("--workers", "1")
    with server.client() as client:
        client.send(b"GET /ticks/10 HTTP/1.0\r\n\r\n")
        client.read_until(b"data: 1\n\n")
        os.kill(server.workers()[0], signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            while client.more():
                pass
    with server.client() as client:
        client.send(b"GET /count/5 HTTP/1.0\r\n\r\n")
        while client.more():
            pass
        assert client.buffer.endswith(b"data: 5\n\n")


def test_a_death_behind_another_request_costs_one_answer(start):
    """Nothing of it was sent yet, however much of it is there."""
    server = start("--workers", "2")

    def at_work_on(path):
        return [worker["pid"] for worker in pool_of(server)["workers"]
                for request in worker["requests"]
                if (request["path"], request["state"]) == (path, "answering")]
    with server.client() as client:
        for path in ("/bytes/20000000", "/chunks/2000000"):
            client.send(b"GET /defer/900 HTTP/1.1\r\nHost: x\r\n\r\n"
                        b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
            os.kill(wait_for(lambda path=path: at_work_on(path))[0], signal.SIGKILL)
            assert client.answer().body == b'{"deferred_ms":900}'
            assert client.answer().status == 502
            assert client.get("/hello").status == 200, "on the same connection"
            wait_for(lambda: len(server.workers()) == 2)


@pytest.mark.parametrize("how", ["reload", "stop"])
def test_events_end_well_where_the_worker_is_to_leave(start, how):
    server = start("--workers", "1", "--log-level", "debug", SAMPLER_LOG_REPEAT_MS="4294967295")
    with server.client() as client:
        client.begin("/ticks/10")
        assert client.event() == "id: 1\ndata: 1"
        began = time.monotonic()
        server.process.send_signal(signal.SIGHUP if how == "reload" else signal.SIGTERM)
        while client.event() is not None:
            pass
        assert time.monotonic() - began < 3
        if how == "reload":
            assert client.get("/hello").status == 200, "on the same connection"
            wait_for(lambda: "the client of /ticks/10 has gone" in server.log())
    if how == "stop":
        assert server.process.wait(5) == 0


@pytest.mark.parametrize("target", ["/count/3000000", "/mjpeg/100000"])
def test_a_stop_ends_what_is_sent_all_the_time_between_two_pieces(start, target):
    server = start("--workers", "1")
    with server.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.begin(target)
        text = client.chunk()
        time.sleep(0.1)  # until all are full of it
        server.process.send_signal(signal.SIGTERM)
        while chunk := client.chunk():
            text = text[-100:] + chunk
    if target.startswith("/count"):
        assert text.endswith(b"\n\n")
        assert not text.endswith(b"data: 3000000\n\n"), "it was ended"
    else:
        # Amid a part its worker ends it, with the last delimiter; between two the dispatcher does.
        assert text.endswith(b"\r\n")
    assert server.process.wait(5) == 0


def test_a_download_is_finished_before_the_worker_leaves(start):
    server = start("--workers", "1")
    with server.client(timeout=30) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.begin("/chunks/400000")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        last = b""
        while chunk := client.chunk():
            last = chunk
        assert last.endswith(b"chunk 400000\n")
    wait_for(lambda: [w["generation"] for w in pool_of(server)["workers"]] == [2])


def test_streams_survive_a_storm_of_clients_that_leave(start):
    server = start("--workers", "2")
    for turn in range(20):
        clients = [server.client() for _ in range(40)]
        for number, client in enumerate(clients):
            client.send(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" %
                        (b"ticks/1", b"events?channel=a", b"chunks/100000",
                         b"defer/5000")[number % 4])
        if turn % 3 == 0:
            time.sleep(0.02)
        for client in clients:
            client.socket.close()
    wait_for(lambda: streams(server) == 0 and pool_of(server)["in_hand"] <= 1, 10)
    assert pool_of(server)["restarts"] == 0
    assert "condemned" not in server.log()
