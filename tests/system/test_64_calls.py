# SPDX-License-Identifier: MIT
"""Calls of workers and of the dispatcher to pools; checks before requests are run."""
import json
import os
import re
import signal
import socket
import threading
import time

import pytest

from conftest import wait_for


def call(client, query, method="GET", body=None, headers=()):
    answer = client.request(method, "/call?" + query, body, headers)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_worker_asks_another_pool(start, kind):
    server = start("--workers", "1", "--worker-class", kind)
    with server.client() as client:
        made = client.request("POST", "/api/items", b'{"name":"nut"}')
        assert made.status == 201
        got = call(client, "target=/api/items")
        assert got["status"] == 200 and json.loads(got["body"])["items"][0]["name"] == "nut"
        assert call(client, "pool=items&target=/api/items")["status"] == 200
        assert call(client, "pool=items&target=/hello")["status"] == 404, "not its path"
        assert call(client, "target=/nothing")["status"] == 404
        assert call(client, "target=/local/hello")["body"] == '{"message":"hello"}'
        assert call(client, "target=/health")["status"] == 200
        assert call(client, "target=/static/hello.txt")["status"] == 501
        assert call(client, "target=/api/items", "POST", b"broken")["status"] == 400
        for target in ("/hello", "/local/hello", "/count/3", "/health"):
            head = call(client, f"method=HEAD&target={target}")
            assert (head["status"], head["body"]) == (200, "")
    assert server.status()["dispatchers"][0]["calls"] == 0


def test_its_own_pool_without_waiting_for_itself(start):
    server = start("--workers", "1")
    with server.client() as client:
        assert call(client, "target=/hello")["body"] == '{"message":"hello"}'
        assert call(client, "target=/defer/50")["body"] == '{"deferred_ms":50}'
        assert call(client, "target=/count/3")["body"].count("data:") == 3
        assert call(client, "target=/chunks/20000")["body"].endswith("chunk 20000\n")


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 100000, 250000])
def test_bodies_arrive_whole(server, size):
    with server.client() as client:
        body = bytes((n * 7) % 26 + 97 for n in range(size))
        got = call(client, "target=/echo", "POST", body, [("Content-Type", "text/plain")])
        assert (got["status"], got["size"]) == (200, size)
        assert got["body"].encode() == body
        assert call(client, "target=/headers", "POST", body,
                    [("Content-Type", "a/b")])["body"].count('"a/b"') == 1


def test_what_cannot_be_called(server):
    with server.client() as client:
        for query in ("", "target=hello", "target=/x%0d%0ay&pool=items", "pool=nix&target=/hello"):
            answer = client.get("/call?" + query)
            assert answer.status == 400 or json.loads(answer.body)["status"] == 400, query
        assert client.request("POST", "/call?target=/echo", b"x" * 300000).status == 413
        assert call(client, "target=/bytes/9000000")["status"] == 502, "more than 8 MiB"


def test_a_target_is_one_line_and_nothing_else(server):
    with server.client() as client:
        for target in ("/headers%20HTTP/1.1%0d%0aX-Injected:%20yes%0d%0aX-Rest:%20a",
                       "/hello%20HTTP/1.1%0d%0aHost:%20a%0d%0a%0d%0a", "/a%20b", "/%25zz", "/%7f"):
            answer = client.get("/call?target=" + target)
            assert answer.status == 400 and b"X-Injected" not in answer.body, target
        answer = call(client, "target=/headers?a=%2520b")
        assert answer["status"] == 200, "escaped it may be anything"
        assert json.loads(answer["body"])["client"] == "call:sampler"


def test_a_call_has_a_deadline(server):
    with server.client() as client:
        began = time.monotonic()
        assert call(client, "target=/defer/60000&timeout=200")["status"] == 504
        assert call(client, "target=/ticks/5&timeout=200")["status"] == 504
        assert time.monotonic() - began < 5


def test_the_deadline_of_a_call_is_that_of_its_pool(start):
    server = start("--workers", "2", SAMPLER_REQUEST_TIMEOUT_MS="200",
                   SAMPLER_QUEUE_TIMEOUT_MS="200")

    def calls():
        return server.status()["dispatchers"][0]["calls"]
    with server.client() as client:
        assert client.get("/call?target=/ticks/5&forget=1").status == 202
        wait_for(lambda: calls() == 0, seconds=2)
        for pool in ("", "&pool=sampler"):
            assert client.get("/call?target=/alive/900&forget=1" + pool).status == 202
        time.sleep(0.6)
        assert calls() == 2, "kept alive"
        wait_for(lambda: calls() == 0)


def test_loops_of_calls_are_refused(server):
    with server.client() as client:
        target = "/hello"
        for _ in range(12):
            target = "/call?target=" + target.replace("%", "%25").replace("?", "%3F").replace(
                "=", "%3D").replace("&", "%26")
        got = client.get(target)
        deepest = got.body.decode().replace("\\", "")
        assert "Too many levels" in deepest and '"status":508' in deepest


def test_a_called_worker_that_dies(start):
    server = start("--workers", "2")
    with server.client() as client:
        assert call(client, "target=/crash/segv")["status"] == 502
        assert call(client, "target=/hello")["status"] == 200
    assert server.status()["dispatchers"][0]["calls"] == 0


def test_a_caller_that_dies(start):
    server = start("--workers", "1")
    with server.client() as client:
        client.send(b"GET /call?target=/api/items HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"GET /call?target=/defer/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer().status == 200
        wait_for(lambda: server.status()["dispatchers"][0]["calls"] == 1)
        os.kill(server.workers()[0], signal.SIGKILL)
        assert client.answer().status == 502
        wait_for(lambda: server.status()["dispatchers"][0]["calls"] == 0)
        assert client.get("/hello").status == 200


def test_fire_and_forget(start, tmp_path):
    ran = tmp_path / "ran"
    server = start("--workers", "1", SAMPLER_RAN=str(ran), SAMPLER_RESPONSES="1")
    with server.client() as client:
        for _ in range(10):
            assert client.get("/call?target=/hello&forget=1").status == 202
    wait_for(lambda: server.status()["pools"][0]["served"] == 20)
    seen = json.loads(server.get("/local/responses").body)
    assert seen["count"] == 10, "calls are not told to on_response"
    assert seen["last"] == "GET /call 202"


def test_calls_that_nobody_waits_for_are_missed_when_they_fail(start):
    server = start("--workers", "1")

    def failed():
        return server.status()["dispatchers"][0]["calls_failed"]
    with server.client() as client:
        assert client.get("/call?target=/hello&forget=1").status == 202
        assert call(client, "target=/nothing")["status"] == 404, "its caller knows"
        wait_for(lambda: server.status()["pools"][0]["served"] == 3)
        assert failed() == 0
        assert client.get("/call?pool=items&target=/nothing&forget=1").status == 202
        wait_for(lambda: failed() == 1)
        assert client.get("/call?target=/defer/60000&timeout=200&forget=1").status == 202
        wait_for(lambda: failed() == 2)
        assert client.get("/call?target=/crash/segv&forget=1").status in (202, 502)
        wait_for(lambda: failed() == 3)
    wait_for(lambda: re.search(r"\(items: /nothing\) ended with 404", server.log()))


def test_many_calls_at_once(start):
    server = start("--workers", "2")
    wrong = []

    def ask(number):
        with server.client(timeout=30) as client:
            for turn in range(50):
                body = f"{number}.{turn}".encode() * 50
                if call(client, "target=/echo", "POST", body)["body"].encode() != body:
                    wrong.append(number)
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_on_response_sees(start):
    server = start("--workers", "1", SAMPLER_RESPONSES="1")

    def seen():
        return json.loads(server.get("/local/responses").body)
    with server.client() as client:
        assert client.get("/hello").status == 200
        now = seen()
        assert (now["count"], now["errors"], now["bytes"]) == (1, 0, 19)
        assert now["last"] == "GET /hello 200"
        assert client.request("POST", "/echo", b"x" * 100000).status == 200
        assert seen()["last"] == "POST /echo 200" and seen()["bytes"] == 100019
        assert client.get("/crash/abort").status == 502
        assert seen()["last"] == "GET /crash/abort 502" and seen()["errors"] == 1
        assert client.get("/defer/5").status == 200
        assert seen()["last"] == "GET /defer/5 200"
        assert client.get("/count/2").status == 200
        assert seen()["last"] == "GET /count/2 200"
        before = seen()["bytes"]
        assert client.request("HEAD", "/hello").status == 200
        assert seen()["last"] == "HEAD /hello 200" and seen()["bytes"] == before
        assert client.get("/private/a").status == 401
        assert seen()["last"] == "GET /private/a 401"
        assert client.request("POST", "/private/p", b"x" * 30000).status == 401
        assert seen()["last"] == "POST /private/p 401" and seen()["count"] == 8
        for path, status in [("/static/hello.txt", 200), ("/local/hello", 200), ("/live", 200),
                             ("/nowhere", 404)]:
            assert client.get(path).status == status
            assert seen()["last_other"] == f"GET {path} {status}"
        assert client.request("DELETE", "/hello").status == 405
        assert seen()["last_other"] == "DELETE /hello 405"
        client.send(b"POST /ech%6F HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        assert client.answer().status == 413
        assert seen()["last_other"] == "POST /echo 413"
        assert seen()["count"] == 8, "these are no pool's"


@pytest.mark.parametrize("path,mark,last", [
    ("/ticks/10", b"data:", "GET /ticks/10 200 not whole"),
    ("/defer/60000", b"", "GET /defer/60000 0 not whole")])
def test_on_response_is_told_of_those_who_leave(start, path, mark, last):
    server = start("--workers", "1", SAMPLER_RESPONSES="1")

    def seen():
        return json.loads(server.get("/local/responses").body)
    with server.client() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while mark not in client.buffer:
            assert client.more()
        wait_for(lambda: server.status()["pools"][0]["workers"][0]["requests"])
        assert seen()["count"] == 0
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_for(lambda: seen()["count"] > 0)
    assert (seen()["count"], seen()["last"]) == (1, last)


def test_on_response_is_told_of_what_stands_behind_a_stream_that_is_given_up(start, tmp_path):
    """Its client closes its side while the only worker is at the third of four requests."""
    ran = tmp_path / "ran"
    server = start("--workers", "1", SAMPLER_RESPONSES="1", SAMPLER_RAN=str(ran))

    def seen():
        return json.loads(server.get("/local/responses").body)

    def it_is_at_the_third():
        pool = server.status()["pools"][0]
        return (ran.read_text().endswith("/cancelled/60000\n")
                and pool["in_hand"] + pool["queue"] > 1)
    with server.client() as client:
        client.send(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\nX-Request-Id: %s\r\n\r\n" % (path, path)
                             for path in (b"/defer/50", b"/ticks/50", b"/cancelled/60000",
                                          b"/hello")))
        wait_for(it_is_at_the_third)
        client.socket.shutdown(socket.SHUT_WR)
        body = client.answer().body
        assert client.more() == b""
    wait_for(lambda: seen()["count"] == 4)
    assert (seen()["last"], seen()["bytes"]) == ("GET /hello 0 not whole", len(body))
    assert server.get("/plain").status == 200
    assert ran.read_text() == "/defer/50\n/ticks/50\n/cancelled/60000\n"


def test_on_response_is_told_of_what_is_cut_short(start):
    server = start("--workers", "1", SAMPLER_RESPONSES="1")

    def seen():
        return json.loads(server.get("/local/responses").body)
    with server.client() as client:
        client.send(b"GET /ticks/10 HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"data:" not in client.buffer:
            assert client.more()
        os.kill(server.workers()[0], signal.SIGKILL)
        while client.more():
            pass
        wait_for(lambda: seen()["count"] > 0)
        assert seen()["last"] == "GET /ticks/10 200 not whole"
        assert seen()["bytes"] > 0


def test_checks(server):
    key, session = ("X-API-Key", "sesame"), ("Cookie", "session=ok")
    with server.client() as client:
        answer = client.get("/private/a")
        assert (answer.status, answer.body) == (401, b'{"error":"unauthorized"}')
        assert answer.header("Vary") == "Accept"
        assert client.get("/private/a", headers=[("X-API-Key", "wrong"), session]).status == 401
        answer = client.get("/private/a", headers=[key])
        assert (answer.status, answer.body) == (403, b'{"error":"forbidden"}')
        answer = client.get("/private/a/b", headers=[key, session])
        assert json.loads(answer.body) == {"path": "/private/a/b",
                                           "caller": "the one who knows the word"}
        answer = client.get("/private/a", headers=[("Accept", "text/html")])
        assert answer.status == 401 and answer.header("Content-Type").startswith("text/html")
        assert client.request("POST", "/private/p", b"x" * 30000).status == 401
        assert client.get("/hello").status == 200, "the connection is kept"
        assert client.request("POST", "/private/p", b"x" * 30000,
                              headers=[key, session]).status == 200
        assert call(client, "target=/private/a")["status"] == 403, "by the worker's check only"


def test_no_client_can_set_a_value_of_the_check(server):
    with server.client() as client:
        answer = client.get("/private/x", headers=[
            ("X-API-Key", "sesame"), ("Cookie", "session=ok"), ("caller", "me")])
        assert json.loads(answer.body)["caller"] == "the one who knows the word"
